//! `g-counter` and `pn-counter`: a sum, of numbers that may be negative in the second.

use quorate_sim::Rng;
use serde_json::json;

use crate::history::{Findings, Op};
use crate::judge::counter::{self, CounterAnswer, CounterRequest};
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field};

pub(crate) struct Counter<const SHRINKS: bool> {
    rng: Rng,
}

impl<const SHRINKS: bool> Script for Counter<SHRINKS> {
    type Request = CounterRequest;
    type Answer = CounterAnswer;

    fn new(_: Numbers, rng: Rng) -> Self {
        Counter { rng }
    }

    fn draw(&mut self) -> CounterRequest {
        if self.rng.below(2) == 0 {
            return CounterRequest::Read;
        }
        let delta = self.rng.below(5) as i64;
        let is_less = SHRINKS && self.rng.below(2) == 0;
        CounterRequest::Add(if is_less { -delta } else { delta })
    }

    fn draw_final(&mut self) -> Option<CounterRequest> {
        Some(CounterRequest::Read)
    }

    fn encode(request: &CounterRequest) -> Body {
        match request {
            CounterRequest::Add(delta) => body("add", json!({ "delta": delta })),
            CounterRequest::Read => body("read", json!({})),
        }
    }

    fn decode(request: &CounterRequest, body: &Body) -> Result<CounterAnswer, String> {
        if let CounterRequest::Add(_) = request {
            return Ok(CounterAnswer::Added);
        }
        let value = field(body, "value")?;
        let sum =
            value.as_i64().ok_or_else(|| format!("`value` is {value}, not a whole number"))?;
        Ok(CounterAnswer::Sum(sum))
    }

    fn judge(ops: &[Op<CounterRequest, CounterAnswer>], options: &Options) -> Findings {
        counter::judge(ops, options.nodes)
    }
}
