//! The judge of `echo`: what comes back is what was sent.
//!
//! Looked for: `different-echo`, an answer that isn't the request's payload.

use serde_json::Value;

use crate::history::{Findings, Op};

/// The payload; the answer is what came back.
pub type EchoOp = Op<Value, Value>;

/// What is wrong with the history.
pub fn judge(ops: &[EchoOp]) -> Findings {
    let mut found = Findings::default();
    for op in ops {
        match op.answer() {
            Some(answer) if *answer != op.request => found.wrong(
                "different-echo",
                format!("{} to echo {}, and got {answer}", op.place(), op.request),
            ),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::judge::histories::{answered, refused, unknown};

    #[test]
    fn what_came_back_as_it_was_sent_holds_and_what_did_not_come_back_is_no_lie() {
        let ops = [
            answered(1, json!({ "a": [1, null] }), json!({ "a": [1, null] }), 0, 1),
            refused(1, json!(2), 2),
            unknown(1, json!(3), 3),
        ];
        assert_eq!(judge(&ops), Findings::default());
    }

    #[test]
    fn another_payload_is_found() {
        let found = judge(&[answered(1, json!("please"), json!("Please"), 0, 1)]);
        assert_eq!(found.anomalies(), ["different-echo"]);
        assert!(found.wrong[0].what.contains("c1 asked n1"), "{}", found.wrong[0]);
    }
}
