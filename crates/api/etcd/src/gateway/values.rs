//! The JSON objects of a body, one after the other, cut out of whatever pieces they arrive in.

use bytes::{Bytes, BytesMut};
use hyper::body::Body;

use crate::error::Error;
use crate::grpc::next_piece;
use crate::room::Place;

/// The objects of a body.
pub(super) struct Values<B> {
    body: B,
    /// What has arrived and was not taken.
    arrived: BytesMut,
    scan: Scan,
    bytes_max: usize,
    /// What of an object that has not arrived whole takes room.
    place: Place,
}

/// How much of what has arrived was looked at, and what was seen there. Each byte is looked at once, however small the
/// pieces are.
#[derive(Debug, Default)]
struct Scan {
    bytes: usize,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Goes on to the end of the first object; none if that has not arrived.
    fn object_bytes(&mut self, arrived: &[u8]) -> Result<Option<usize>, Error> {
        while let Some(byte) = arrived.get(self.bytes) {
            self.bytes += 1;
            match (byte, self.is_in_string) {
                _ if self.is_escaped => self.is_escaped = false,
                (b'\\', true) => self.is_escaped = true,
                (b'"', _) if self.depth > 0 => self.is_in_string = !self.is_in_string,
                (_, true) => {}
                (b'{' | b'[', false) => self.depth += 1,
                (b'}' | b']', false) if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.bytes));
                    }
                }
                _ if self.depth > 0 || byte.is_ascii_whitespace() => {}
                _ => {
                    let found = char::from(*byte).escape_default();
                    return Err(Error::Json(format!("an object was expected, not {found}")));
                }
            }
        }
        Ok(None)
    }
}

impl<B> Values<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B, bytes_max: usize, place: Place) -> Self {
        Values { body, arrived: BytesMut::new(), scan: Scan::default(), bytes_max, place }
    }

    /// The next object, as far as brackets tell; none at the end of the body. Whoever stops waiting loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(bytes) = self.scan.object_bytes(&self.arrived)? {
                self.scan = Scan::default();
                self.place.clear();
                return Ok(Some(self.arrived.split_to(bytes).freeze()));
            }
            if self.arrived.len() > self.bytes_max {
                let (bytes, bytes_max) = (self.arrived.len(), self.bytes_max);
                return Err(Error::MessageTooLarge { bytes, bytes_max });
            }
            self.place.grow_to(self.arrived.len())?;
            match next_piece(std::pin::Pin::new(&mut self.body)).await? {
                Some(piece) => self.arrived.extend_from_slice(&piece),
                None if self.scan.depth == 0 => return Ok(None),
                None => return Err(Error::Json("unexpected EOF".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the objects in a text that arrives byte by byte.
    fn objects(text: &str) -> Result<Vec<&str>, Error> {
        let (mut scan, mut begin, mut found) = (Scan::default(), 0, Vec::new());
        for end in 1..=text.len() {
            if let Some(bytes) = scan.object_bytes(&text.as_bytes()[begin..end])? {
                found.push(text[begin..begin + bytes].trim());
                begin += bytes;
                scan = Scan::default();
            }
        }
        Ok(found)
    }

    #[test]
    fn objects_are_told_apart_by_their_brackets_but_not_by_those_in_strings() {
        let text = "{\"a\":[{}]} \n{\"b\":\"}\\\"}\\\\\"}{}{\"open\":";
        let found = objects(text).expect("there is nothing else between them");
        assert_eq!(found, ["{\"a\":[{}]}", "{\"b\":\"}\\\"}\\\\\"}", "{}"]);
    }

    #[test]
    fn what_is_not_in_an_object_is_refused_where_it_stands() {
        for text in ["garbage", "{} x", "}", "\"text\"", "5"] {
            assert!(objects(text).is_err(), "{text}");
        }
    }
}
