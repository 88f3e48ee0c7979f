//! Commands as the bytes of a log entry, and back.
//!
//! The format is protobuf's, so that fields can be added by later versions; `messages.rs` is the schema. Decoding
//! shares the keys and values with the entry instead of copying them. It refuses what it does not fully understand, be it
//! a kind of command or a single field: a replica that guessed would no longer be the same store as the others. So
//! neither may be proposed before every member knows it.
//!
//! Omitted: checks of the content. [`crate::validate`] has made them before the command was proposed, and the store
//! gives the same answer everywhere to a command that slipped through.

mod auth;
mod decoding;
mod encoding;
mod messages;

use bytes::{Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

use crate::auth::Asker;
use crate::request::{Command, TXN_DEPTH_MAX};

/// Why the bytes of an entry are no command. The entry was damaged, or written by a later version.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum WireError {
    /// The bytes are not of the format.
    #[error("log entry is not a command: {0}; compare it with the copies of the other replicas")]
    Malformed(#[from] prost::DecodeError),
    /// A field that every version writes is not there.
    #[error("log entry has no {0}; if a later version wrote it, upgrade this node")]
    Missing(&'static str),
    /// A field has a content that this version does not know.
    #[error("log entry has {value} as its {field}; if a later version wrote it, upgrade this node")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its content.
        value: u64,
    },
    /// There is more in it than this version knows.
    #[error("log entry has {0} bytes that this version does not know; upgrade this node")]
    UnknownFields(usize),
    /// Transactions lie in each other deeper than [`TXN_DEPTH_MAX`].
    #[error("log entry nests transactions more than {TXN_DEPTH_MAX} deep, which no node proposes")]
    TooDeep,
}

/// The bytes of a command. [`decode`] takes them back, provided that transactions nest no deeper than
/// [`TXN_DEPTH_MAX`], which [`crate::validate::validate`] has checked.
pub fn encode(command: &Command) -> Bytes {
    encoding::command(command).encode_to_vec().into()
}

/// As [`encode`], with whoever asks for the command.
pub fn encode_for(asker: Option<&Asker>, command: &Command) -> Bytes {
    let mut message = encoding::command(command);
    message.asker = asker.map(auth::encode_asker);
    message.encode_to_vec().into()
}

/// Appends the bytes of a command to a buffer.
pub fn encode_into(command: &Command, buffer: &mut BytesMut) {
    let message = encoding::command(command);
    buffer.reserve(message.encoded_len());
    message.encode_raw(buffer);
}

/// The command in the bytes of an entry. Its keys and values share these bytes, and keep them in memory.
///
/// # Errors
/// See [`WireError`]. No input makes it panic.
pub fn decode(entry: Bytes) -> Result<Command, WireError> {
    decode_with_asker(entry).map(|(_, command)| command)
}

/// As [`decode`], with whoever asks for the command.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_asker(entry: Bytes) -> Result<(Option<Asker>, Command), WireError> {
    let bytes = entry.len();
    let mut message = messages::Command::decode(entry)?;
    // Fields that are not known are skipped, and what is left is shorter than it was: every version encodes what it
    // knows in the same way. A whole kind that is not known has a better name.
    let unknown = bytes.saturating_sub(message.encoded_len());
    if unknown > 0 && message.request.is_some() {
        return Err(WireError::UnknownFields(unknown));
    }
    let asker = message.asker.take().map(auth::asker);
    Ok((asker, decoding::command(message)?))
}
