//! How one message is cut out of whatever pieces it arrives in.

use std::collections::VecDeque;

use super::*;
use crate::room::Room;

/// A body of data frames, as a connection would deliver them.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Reads pieces that never keep anyone waiting.
fn read(pieces: impl IntoIterator<Item = Bytes>, bytes_max: usize) -> Result<Bytes, Error> {
    let place = Arc::new(Room::new(1 << 20)).place();
    let read = pin!(read_message(Pieces(pieces.into_iter().collect()), bytes_max, place));
    match read.poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(message) => message,
        Poll::Pending => panic!("every piece is there, yet the reader waits"),
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed.freeze()
}

#[test]
fn a_message_in_one_piece_is_a_slice_of_it() {
    let piece = framed(b"hello");
    let message = read([piece.clone()], 100).expect("the message is whole");
    assert_eq!(message, "hello");
    assert_eq!(message.as_ptr(), piece[PREFIX_BYTES..].as_ptr());
}

#[test]
fn a_message_is_the_same_wherever_it_is_cut_into_three() {
    let whole = framed(b"hello");
    for first in 0..=whole.len() {
        for second in first..=whole.len() {
            let pieces = [whole.slice(..first), whole.slice(first..second), whole.slice(second..)];
            assert_eq!(read(pieces, 100).expect("the message is whole"), "hello");
        }
    }
}

#[test]
fn an_empty_message_is_a_message_and_no_message_is_not() {
    assert_eq!(read([framed(b"")], 100).expect("the message is whole"), "");
    assert!(matches!(read([], 100), Err(Error::Framing(_))));
}

#[test]
fn a_message_cut_short_or_followed_by_another_is_refused() {
    let whole = framed(b"hello");
    assert!(matches!(read([whole.slice(..9)], 100), Err(Error::Framing(_))));
    assert!(matches!(read([whole.slice(..4)], 100), Err(Error::Framing(_))));
    assert!(matches!(read([whole.clone(), whole], 100), Err(Error::Framing(_))));
}

#[test]
fn a_message_that_announces_too_much_is_refused_before_it_has_arrived() {
    let announced = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    match read([announced], 100) {
        Err(Error::MessageTooLarge { bytes, bytes_max }) => {
            assert_eq!((bytes, bytes_max), (0xffff_ffff, 100 + MESSAGE_OVERHEAD_BYTES));
        }
        other => panic!("4 GiB were taken: {other:?}"),
    }
}

#[test]
fn a_compressed_message_is_refused() {
    let compressed = Bytes::from_static(&[1, 0, 0, 0, 1, 7]);
    assert!(matches!(read([compressed], 100), Err(Error::Compressed)));
}

#[test]
fn every_method_is_found_at_its_path_and_at_no_other() {
    for method in Method::ALL.iter().copied() {
        let path = format!("/{}/{}", method.service(), method.name());
        assert_eq!(Method::at(&path), Some(method));
        assert_eq!(Method::at(&path[1..]), None);
        assert_eq!(Method::at(&format!("{path}/")), None);
    }
    assert_eq!(Method::at("/etcdserverpb.Cluster/Put"), None);
}

#[test]
fn methods_are_listed_in_the_order_of_their_numbers() {
    for (number, method) in Method::ALL.iter().copied().enumerate() {
        assert_eq!(method as usize, number, "{}", method.name());
    }
}
