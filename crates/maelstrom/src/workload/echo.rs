//! `echo`: a payload that comes back.

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::history::{Findings, Op};
use crate::judge::echo;
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field};

pub(crate) struct Echo {
    numbers: Numbers,
    rng: Rng,
}

impl Script for Echo {
    type Request = Value;
    type Answer = Value;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        Echo { numbers, rng }
    }

    fn draw(&mut self) -> Value {
        let number = self.numbers.next();
        match self.rng.below(4) {
            0 => json!(number),
            1 => json!([number, null, { "\u{201c}quoted\u{201d}\n": true }]),
            _ => json!(format!("Please echo {number}")),
        }
    }

    fn encode(request: &Value) -> Body {
        body("echo", json!({ "echo": request }))
    }

    fn decode(_: &Value, body: &Body) -> Result<Value, String> {
        field(body, "echo").cloned()
    }

    fn judge(ops: &[Op<Value, Value>], _: &Options) -> Findings {
        echo::judge(ops)
    }
}
