//! A model of a version after this one, for simulation and tests: what it writes holds what this version doesn't know.
//!
//! A later version will have added fields to some messages, and kinds of message. This one has added some everywhere:
//! fields of every type under numbers that nobody has given away, in whatever is a message, however deep it lies; parts
//! of an unknown kind beside those that are known; and messages that it says in a new way only.
//!
//! It works on bytes, and needs to know of each field only whether a message lies in it (`NESTED`).
//!
//! It writes no record and no command of an unknown kind, as no version may before all members know it, and adds nothing
//! to commands.

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::{Envelope, Record, WirePart, encode_record};

/// How often the next version says something new, each in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// How often a message, at whatever depth, has fields that this version doesn't know.
    pub fields: u64,
    /// How often a part of an unknown kind stands before, between or behind the parts of an envelope.
    pub parts: u64,
    /// How often a message is said only in a way that this version doesn't know.
    pub kinds: u64,
}

/// The kinds of message that others lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Part,
    RequestVote,
    Vote,
    Append,
    Entry,
    Answer,
    Submission,
    InstallSnapshot,
    Snapshot,
    Membership,
    Record,
    Appended,
    Compacted,
    /// Nothing lies in it.
    Leaf,
}

/// In which fields of a message which other message lies: one line for each attribute `prost(message, ..)` but the one
/// of the envelope, whose parts are put together here.
const NESTED: [(Kind, u32, Kind); 31] = [
    (Kind::Part, 2, Kind::RequestVote),
    (Kind::Part, 3, Kind::Vote),
    (Kind::Part, 4, Kind::Append),
    (Kind::Part, 5, Kind::Answer),
    (Kind::Part, 7, Kind::Submission),
    (Kind::Part, 8, Kind::Leaf),
    (Kind::Part, 9, Kind::Leaf),
    (Kind::Part, 10, Kind::InstallSnapshot),
    (Kind::Part, 11, Kind::Leaf),
    (Kind::RequestVote, 5, Kind::Leaf),
    (Kind::Vote, 4, Kind::Leaf),
    (Kind::Append, 4, Kind::Entry),
    (Kind::Append, 7, Kind::Leaf),
    (Kind::Entry, 6, Kind::Membership),
    (Kind::Answer, 4, Kind::Leaf),
    (Kind::Answer, 7, Kind::Leaf),
    (Kind::Answer, 8, Kind::Leaf),
    (Kind::Submission, 4, Kind::Leaf),
    (Kind::InstallSnapshot, 3, Kind::Snapshot),
    (Kind::InstallSnapshot, 7, Kind::Leaf),
    (Kind::Snapshot, 3, Kind::Membership),
    (Kind::Membership, 1, Kind::Leaf),
    (Kind::Membership, 2, Kind::Leaf),
    (Kind::Record, 3, Kind::Leaf),
    (Kind::Record, 4, Kind::Appended),
    (Kind::Record, 5, Kind::Compacted),
    (Kind::Record, 6, Kind::Leaf),
    (Kind::Record, 7, Kind::Leaf),
    (Kind::Appended, 2, Kind::Entry),
    (Kind::Compacted, 1, Kind::Snapshot),
    (Kind::Compacted, 8, Kind::Leaf),
];

/// Numbers that no field has: the first that a kind of message would be given next, and the ends of what there is.
const NEW_NUMBERS: [u32; 5] = [15, 16, 2_047, 2_048, 536_870_911];
/// The number under which the next version says what it says in a new way.
const NEW_KIND: u32 = 15;

/// What a part of an envelope is, and the envelope's own field for it.
const PARTS: u32 = 1;

/// Writes as the next version does. `draw` gives a number below the one it is given.
pub struct Newer<D> {
    /// How often it says something new.
    pub habits: Habits,
    /// Where its chance comes from.
    pub draw: D,
}

impl<D: FnMut(u64) -> u64> Newer<D> {
    /// An envelope, and what is left of it for who doesn't know all of its messages.
    pub fn encode_envelope(&mut self, envelope: &Envelope, into: &mut Vec<u8>) -> Envelope {
        let mut legible = Envelope { messages: Vec::new(), unread: 0 };
        for (group, message) in &envelope.messages {
            legible.unread += self.perhaps_add_unknown_part(into);
            let part = WirePart { group: group.0, message: Some(message.into()) }.encode_to_vec();
            if self.happens(self.habits.kinds) {
                let mut anew = Vec::new();
                put_bytes(NEW_KIND, &part, &mut anew);
                put_bytes(PARTS, &anew, into);
                legible.unread += 1;
            } else {
                put_bytes(PARTS, &self.rewrite(Kind::Part, &part), into);
                legible.messages.push((*group, message.clone()));
            }
        }
        legible.unread += self.perhaps_add_unknown_part(into);
        legible
    }

    /// A record.
    pub fn encode_record(&mut self, record: &Record, into: &mut Vec<u8>) {
        let mut known = Vec::new();
        encode_record(record, &mut known);
        into.extend(self.rewrite(Kind::Record, &known));
    }

    fn happens(&mut self, percent: u64) -> bool {
        (self.draw)(100) < percent
    }

    fn perhaps_add_unknown_part(&mut self, into: &mut Vec<u8>) -> u32 {
        if !self.happens(self.habits.parts) {
            return 0;
        }
        let mut part = Vec::new();
        self.put_unknown_fields(&mut part);
        put_bytes(PARTS, &part, into);
        1
    }

    /// A message with new fields in front of what it had, or behind, and so whatever lies in it.
    fn rewrite(&mut self, kind: Kind, message: &[u8]) -> Vec<u8> {
        let mut rest = message;
        let mut written = Vec::with_capacity(message.len() + 32);
        let is_new = self.happens(self.habits.fields);
        let is_first = is_new && self.happens(50);
        if is_first {
            self.put_unknown_fields(&mut written);
        }
        while !rest.is_empty() {
            let field = rest;
            let (number, wire_type) = decode_key(&mut rest).expect("this version wrote it");
            let nested = NESTED.iter().find(|(of, at, _)| (*of, *at) == (kind, number));
            match (wire_type, nested) {
                (WireType::LengthDelimited, nested) => {
                    let bytes = take_bytes(&mut rest);
                    match nested {
                        Some((.., nested)) => {
                            put_bytes(number, &self.rewrite(*nested, bytes), &mut written);
                        }
                        None => put_bytes(number, bytes, &mut written),
                    }
                }
                _ => {
                    decode_varint(&mut rest).expect("all numbers are varints");
                    written.extend(&field[..field.len() - rest.len()]);
                }
            }
        }
        if is_new && !is_first {
            self.put_unknown_fields(&mut written);
        }
        written
    }

    /// Some fields that this version doesn't know, of any type.
    fn put_unknown_fields(&mut self, into: &mut Vec<u8>) {
        for _ in 0..=(self.draw)(2) {
            let number = NEW_NUMBERS[(self.draw)(NEW_NUMBERS.len() as u64) as usize];
            match (self.draw)(5) {
                0 => {
                    encode_key(number, WireType::Varint, into);
                    encode_varint(u64::MAX >> (self.draw)(64), into);
                }
                1 => {
                    encode_key(number, WireType::SixtyFourBit, into);
                    into.extend([0xff; 8]);
                }
                2 => {
                    encode_key(number, WireType::ThirtyTwoBit, into);
                    into.extend([0; 4]);
                }
                3 => {
                    encode_key(number, WireType::StartGroup, into);
                    put_bytes(1, b"in a group", into);
                    encode_key(number, WireType::EndGroup, into);
                }
                // What is no message must not be taken for one.
                _ => put_bytes(number, &[0xff; 40][..(self.draw)(40) as usize], into),
            }
        }
    }
}

fn put_bytes(number: u32, bytes: &[u8], into: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, into);
    encode_varint(bytes.len() as u64, into);
    into.extend(bytes);
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = decode_varint(rest).expect("this version wrote it") as usize;
    let (bytes, behind) = rest.split_at(length);
    *rest = behind;
    bytes
}
