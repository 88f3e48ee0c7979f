//! `broadcast` and `g-set`: the same set, by other names.

use quorate_sim::Rng;
use serde_json::json;

use crate::history::{Findings, Op};
use crate::judge::set::{self, SetAnswer, SetRequest};
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field, numbers};

/// `IS_BROADCAST`: elements are called messages, and nodes are told who their neighbours are.
pub(crate) struct Set<const IS_BROADCAST: bool> {
    numbers: Numbers,
    rng: Rng,
}

impl<const IS_BROADCAST: bool> Script for Set<IS_BROADCAST> {
    type Request = SetRequest;
    type Answer = SetAnswer;

    const HAS_TOPOLOGY: bool = IS_BROADCAST;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        Set { numbers, rng }
    }

    fn draw(&mut self) -> SetRequest {
        match self.rng.below(2) {
            0 => SetRequest::Add(self.numbers.next()),
            _ => SetRequest::Read,
        }
    }

    fn draw_final(&mut self) -> Option<SetRequest> {
        Some(SetRequest::Read)
    }

    fn encode(request: &SetRequest) -> Body {
        match request {
            SetRequest::Add(element) if IS_BROADCAST => {
                body("broadcast", json!({ "message": element }))
            }
            SetRequest::Add(element) => body("add", json!({ "element": element })),
            SetRequest::Read => body("read", json!({})),
        }
    }

    fn decode(request: &SetRequest, body: &Body) -> Result<SetAnswer, String> {
        if let SetRequest::Add(_) = request {
            return Ok(SetAnswer::Added);
        }
        let name = if IS_BROADCAST { "messages" } else { "value" };
        numbers(field(body, name)?, name).map(SetAnswer::Elements)
    }

    fn judge(ops: &[Op<SetRequest, SetAnswer>], options: &Options) -> Findings {
        set::judge(ops, options.nodes)
    }
}
