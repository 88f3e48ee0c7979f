//! Messages: one JSON object a line, with who, to whom, and a body; and the protocol's error codes.

use std::fmt;

use serde_json::{Map, Value, json};

/// What a message says: a JSON object with at least a `type`, if it is spoken with clients or services.
pub type Body = Map<String, Value>;

/// One message, as it is written on a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who sends it.
    pub src: String,
    /// Whom it is for.
    pub dest: String,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Reads a line. The error says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("it is not JSON ({error})"))?;
        let Value::Object(mut object) = value else {
            return Err("it is JSON, but not an object with src, dest and body".into());
        };
        let mut name = |field: &str| match object.remove(field) {
            Some(Value::String(name)) => Ok(name),
            Some(other) => Err(format!("its field `{field}` is {other}, not a string")),
            None => Err(format!("it has no field `{field}`")),
        };
        let (src, dest) = (name("src")?, name("dest")?);
        match object.remove("body") {
            Some(Value::Object(body)) => Ok(Message { src, dest, body }),
            Some(other) => Err(format!("its field `body` is {other}, not an object")),
            None => Err("it has no field `body`".into()),
        }
    }

    /// The line without its end.
    pub fn to_line(&self) -> String {
        json!({ "src": self.src, "dest": self.dest, "body": self.body }).to_string()
    }
}

/// The `type` of a body; empty if it has none.
pub fn type_of(body: &Body) -> &str {
    body.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// A body of that type with those fields; `fields` must be an object.
pub fn body(kind: &str, fields: Value) -> Body {
    let Value::Object(mut body) = fields else { panic!("the fields of a body are an object") };
    body.insert("type".into(), kind.into());
    body
}

/// An error as a body.
pub fn error_body(code: ErrorCode, text: &str) -> Body {
    body("error", json!({ "code": code.number(), "text": text }))
}

/// The errors that the protocol has numbers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// It took too long; it may have happened.
    Timeout,
    /// There is no such node.
    NodeNotFound,
    /// The node doesn't know such a request.
    NotSupported,
    /// Not now.
    TemporarilyUnavailable,
    /// The request cannot be understood.
    MalformedRequest,
    /// The node failed within; it may have happened.
    Crash,
    /// It was given up, and has not happened.
    Abort,
    /// There is no such key.
    KeyDoesNotExist,
    /// There is such a key already.
    KeyAlreadyExists,
    /// The key has another value than was expected.
    PreconditionFailed,
    /// Another transaction was in the way.
    TxnConflict,
}

impl ErrorCode {
    const ALL: [ErrorCode; 11] = [
        ErrorCode::Timeout,
        ErrorCode::NodeNotFound,
        ErrorCode::NotSupported,
        ErrorCode::TemporarilyUnavailable,
        ErrorCode::MalformedRequest,
        ErrorCode::Crash,
        ErrorCode::Abort,
        ErrorCode::KeyDoesNotExist,
        ErrorCode::KeyAlreadyExists,
        ErrorCode::PreconditionFailed,
        ErrorCode::TxnConflict,
    ];

    /// The number on the wire.
    pub fn number(self) -> u64 {
        match self {
            ErrorCode::Timeout => 0,
            ErrorCode::NodeNotFound => 1,
            ErrorCode::NotSupported => 10,
            ErrorCode::TemporarilyUnavailable => 11,
            ErrorCode::MalformedRequest => 12,
            ErrorCode::Crash => 13,
            ErrorCode::Abort => 14,
            ErrorCode::KeyDoesNotExist => 20,
            ErrorCode::KeyAlreadyExists => 21,
            ErrorCode::PreconditionFailed => 22,
            ErrorCode::TxnConflict => 30,
        }
    }

    /// The code with that number, if the protocol has it.
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Whether it says that the request has not happened and never will.
    pub fn is_definite(self) -> bool {
        !matches!(self, ErrorCode::Timeout | ErrorCode::Crash)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorCode::Timeout => "timeout",
            ErrorCode::NodeNotFound => "node-not-found",
            ErrorCode::NotSupported => "not-supported",
            ErrorCode::TemporarilyUnavailable => "temporarily-unavailable",
            ErrorCode::MalformedRequest => "malformed-request",
            ErrorCode::Crash => "crash",
            ErrorCode::Abort => "abort",
            ErrorCode::KeyDoesNotExist => "key-does-not-exist",
            ErrorCode::KeyAlreadyExists => "key-already-exists",
            ErrorCode::PreconditionFailed => "precondition-failed",
            ErrorCode::TxnConflict => "txn-conflict",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = r#"{"src":"n1","dest":"c2","body":{"type":"echo_ok","echo":[1,null]},"id":4}"#;
        let message = Message::parse(line).expect("it is a message");
        assert_eq!(type_of(&message.body), "echo_ok");
        assert_eq!(Message::parse(&message.to_line()), Ok(message));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, said) in [
            ("hello", "not JSON"),
            ("[1]", "not an object"),
            (r#"{"dest":"n1","body":{}}"#, "no field `src`"),
            (r#"{"src":"n1","dest":7,"body":{}}"#, "`dest` is 7"),
            (r#"{"src":"n1","dest":"n2"}"#, "no field `body`"),
            (r#"{"src":"n1","dest":"n2","body":3}"#, "`body` is 3"),
        ] {
            let error = Message::parse(line).expect_err("it was taken");
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn only_a_timeout_and_a_crash_leave_open_whether_it_happened() {
        let open: Vec<u64> = ErrorCode::ALL
            .into_iter()
            .filter(|code| !code.is_definite())
            .map(ErrorCode::number)
            .collect();
        assert_eq!(open, [0, 13]);
        assert_eq!(ErrorCode::of(22), Some(ErrorCode::PreconditionFailed));
        assert_eq!(ErrorCode::of(1000), None);
    }
}
