//! Frames: length, kind, version, checksum, body.
//!
//! `u32` length of the body, `u8` kind, `u8` version, `u16` zero, `u32` CRC-32C of the body, all little-endian; then the
//! body. TCP's own checksum lets one error in some ten million packets through; a database may not.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The bytes before the body.
pub(crate) const HEADER_BYTES: usize = 12;
/// The largest body of a peer's message that is taken.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// The largest body that is taken from somebody who has not said yet who they are, so that no stranger can have a node
/// hold much of what they send.
pub(crate) const HELLO_BYTES_MAX: usize = 64 << 10;
/// The largest body of an answer to an enquiry that is taken.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The version of the frames that this program writes, and the only one it reads.
pub(crate) const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first frame of a connection.
    Hello,
    /// The last one: why the receiver hangs up.
    Reject,
    /// A message of the protocol.
    Message,
    /// The first frame of a connection of somebody who is no peer, or not yet: a question, to which the only other
    /// frame is the answer.
    Enquiry,
    /// The answer to an enquiry.
    Answer,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a frame of {bytes} bytes; at most {bytes_max} are taken here")]
    TooLong { bytes: usize, bytes_max: usize },
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame of version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("a frame whose checksum is wrong")]
    Checksum,
}

/// Adds a frame whose body `write` adds.
pub(crate) fn put(buffer: &mut BytesMut, kind: Kind, write: impl FnOnce(&mut BytesMut)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    write(buffer);
    let body = start + HEADER_BYTES;
    let length = (buffer.len() - body) as u32;
    let crc = crc32c::crc32c(&buffer[body..]);
    let header = &mut buffer[start..body];
    header[0..4].copy_from_slice(&length.to_le_bytes());
    header[4] = match kind {
        Kind::Hello => 1,
        Kind::Reject => 2,
        Kind::Message => 3,
        Kind::Enquiry => 4,
        Kind::Answer => 5,
    };
    header[5] = VERSION;
    header[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Takes the first frame from `buffer`, if it is there in full. Its body may have up to `bytes_max`.
pub(crate) fn take(
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<(Kind, Bytes)>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let mut fields = &header[..];
    let length = fields.get_u32_le() as usize;
    let (kind, version, _) = (fields.get_u8(), fields.get_u8(), fields.get_u16_le());
    let crc = fields.get_u32_le();
    if length > bytes_max {
        return Err(FrameError::TooLong { bytes: length, bytes_max });
    }
    let kind = match kind {
        1 => Kind::Hello,
        2 => Kind::Reject,
        3 => Kind::Message,
        4 => Kind::Enquiry,
        5 => Kind::Answer,
        other => return Err(FrameError::Kind(other)),
    };
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    if buffer.len() < HEADER_BYTES + length {
        buffer.reserve(HEADER_BYTES + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let body = buffer.split_to(length).freeze();
    if crc32c::crc32c(&body) != crc { Err(FrameError::Checksum) } else { Ok(Some((kind, body))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        put(&mut buffer, Kind::Message, |buffer| buffer.extend_from_slice(body));
        buffer
    }

    #[test]
    fn a_frame_is_taken_once_it_is_there_in_full() {
        let whole = framed(b"body");
        for cut in 0..whole.len() {
            let mut partial = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut partial, MESSAGE_BYTES_MAX), Ok(None), "after {cut} bytes");
        }
        let mut two = framed(b"body");
        two.extend_from_slice(&framed(b""));
        assert_eq!(
            take(&mut two, MESSAGE_BYTES_MAX),
            Ok(Some((Kind::Message, Bytes::from_static(b"body"))))
        );
        assert_eq!(take(&mut two, MESSAGE_BYTES_MAX), Ok(Some((Kind::Message, Bytes::new()))));
        assert!(two.is_empty());
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let whole = framed(b"some body");
        for at in (0..whole.len()).filter(|at| !(6..8).contains(at)) {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let taken = take(&mut changed, MESSAGE_BYTES_MAX);
            assert!(
                !matches!(&taken, Ok(Some((Kind::Message, body))) if body == "some body"),
                "byte {at}: {taken:?}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_anything_is_reserved() {
        let mut buffer = framed(&[0; 100]);
        buffer.truncate(HEADER_BYTES);
        let held = buffer.capacity();
        let refused = FrameError::TooLong { bytes: 100, bytes_max: 99 };
        assert_eq!(take(&mut buffer, 99), Err(refused));
        assert_eq!(buffer.capacity(), held);
        assert_eq!(take(&mut buffer, 100), Ok(None));
    }
}
