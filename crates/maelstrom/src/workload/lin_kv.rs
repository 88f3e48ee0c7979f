//! `lin-kv`: reads, writes and compare-and-sets of a few keys, which give way to new ones as the run goes on.

use std::collections::BTreeMap;

use quorate_check::register::{RegisterInput, RegisterOutput};
use quorate_sim::Rng;
use serde_json::json;

use crate::history::{Findings, Op};
use crate::judge::lin_kv::{self, KvAnswer, KvRequest};
use crate::message::{Body, ErrorCode, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field};

/// How many keys are asked about at a time.
const KEYS: u64 = 3;

/// After how many requests of a client the next keys have their turn. A history of few operations a key is much easier
/// to decide.
const REQUESTS_PER_KEYS: u64 = 30;

pub(crate) struct LinKv {
    numbers: Numbers,
    rng: Rng,
    asked: u64,
    /// What each key held when this client looked last.
    seen: BTreeMap<u64, u64>,
}

impl Script for LinKv {
    type Request = KvRequest;
    type Answer = KvAnswer;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        LinKv { numbers, rng, asked: 0, seen: BTreeMap::new() }
    }

    fn draw(&mut self) -> KvRequest {
        let key = self.asked / REQUESTS_PER_KEYS * KEYS + self.rng.below(KEYS);
        self.asked += 1;
        let input = match self.rng.below(3) {
            0 => RegisterInput::Read,
            1 => RegisterInput::Write(self.numbers.next()),
            _ => {
                let expected = self.seen.get(&key).copied().unwrap_or(0);
                RegisterInput::CompareAndSwap { expected: Some(expected), new: self.numbers.next() }
            }
        };
        (key, input)
    }

    fn learn(&mut self, (key, input): &KvRequest, answer: &KvAnswer) {
        match (input, answer) {
            (_, KvAnswer::Register(RegisterOutput::Value(Some(value)))) => {
                self.seen.insert(*key, *value);
            }
            (
                RegisterInput::Write(value) | RegisterInput::CompareAndSwap { new: value, .. },
                KvAnswer::Register(RegisterOutput::Written | RegisterOutput::Swapped(true)),
            ) => {
                self.seen.insert(*key, *value);
            }
            _ => {}
        }
    }

    fn encode((key, input): &KvRequest) -> Body {
        match input {
            RegisterInput::Read => body("read", json!({ "key": key })),
            RegisterInput::Write(value) => body("write", json!({ "key": key, "value": value })),
            RegisterInput::CompareAndSwap { expected, new } => {
                body("cas", json!({ "key": key, "from": expected, "to": new }))
            }
        }
    }

    fn decode((_, input): &KvRequest, body: &Body) -> Result<KvAnswer, String> {
        Ok(KvAnswer::Register(match input {
            RegisterInput::Read => {
                let value = field(body, "value")?;
                let number = value.as_u64();
                if number.is_none() && !value.is_null() {
                    return Err(format!("`value` is {value}, and only numbers were written"));
                }
                RegisterOutput::Value(number)
            }
            RegisterInput::Write(_) => RegisterOutput::Written,
            RegisterInput::CompareAndSwap { .. } => RegisterOutput::Swapped(true),
        }))
    }

    fn decode_error((_, input): &KvRequest, code: ErrorCode) -> Option<KvAnswer> {
        match (input, code) {
            (RegisterInput::Read, ErrorCode::KeyDoesNotExist) => {
                Some(KvAnswer::Register(RegisterOutput::Value(None)))
            }
            (RegisterInput::CompareAndSwap { .. }, ErrorCode::KeyDoesNotExist) => {
                Some(KvAnswer::NoSuchKey)
            }
            (RegisterInput::CompareAndSwap { .. }, ErrorCode::PreconditionFailed) => {
                Some(KvAnswer::Register(RegisterOutput::Swapped(false)))
            }
            _ => None,
        }
    }

    fn judge(ops: &[Op<KvRequest, KvAnswer>], _: &Options) -> Findings {
        lin_kv::judge(ops)
    }
}
