//! The judge of `unique-ids`: no id is given twice.
//!
//! Looked for: `duplicate-id`, one JSON value that answered two requests.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::history::{Findings, Op};

/// A wish for an id; the answer is the id.
pub type IdOp = Op<(), Value>;

/// What is wrong with the history.
pub fn judge(ops: &[IdOp]) -> Findings {
    let mut found = Findings::default();
    let mut given: BTreeMap<String, &IdOp> = BTreeMap::new();
    for op in ops {
        let Some(id) = op.answer() else { continue };
        if let Some(first) = given.insert(id.to_string(), op) {
            let what = format!("{id} was given twice: {}, and {}", first.place(), op.place());
            found.wrong("duplicate-id", what);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::judge::histories::{answered, unknown};

    #[test]
    fn ids_that_differ_hold_even_if_only_in_their_type() {
        let ops = [
            answered(1, (), json!(1), 0, 1),
            answered(2, (), json!("1"), 0, 1),
            answered(3, (), json!([1]), 0, 1),
            unknown(4, (), 0),
        ];
        assert_eq!(judge(&ops), Findings::default());
    }

    #[test]
    fn an_id_given_twice_is_found_with_both_who_got_it() {
        let found = judge(&[
            answered(1, (), json!({ "n": 4 }), 0, 1),
            answered(2, (), json!(4), 0, 1),
            answered(3, (), json!({ "n": 4 }), 5, 6),
        ]);
        assert_eq!(found.anomalies(), ["duplicate-id"]);
        let what = &found.wrong[0].what;
        assert!(what.contains("c1 asked n1") && what.contains("c3 asked n3"), "{what}");
    }
}
