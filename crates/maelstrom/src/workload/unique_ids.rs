//! `unique-ids`: ids for the asking.

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::history::{Findings, Op};
use crate::judge::unique_ids;
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field};

pub(crate) struct UniqueIds;

impl Script for UniqueIds {
    type Request = ();
    type Answer = Value;

    fn new(_: Numbers, _: Rng) -> Self {
        UniqueIds
    }

    fn draw(&mut self) {}

    fn encode((): &()) -> Body {
        body("generate", json!({}))
    }

    fn decode((): &(), body: &Body) -> Result<Value, String> {
        field(body, "id").cloned()
    }

    fn judge(ops: &[Op<(), Value>], _: &Options) -> Findings {
        unique_ids::judge(ops)
    }
}
