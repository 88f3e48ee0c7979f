//! `txn-list-append` and `txn-rw-register`: short transactions over a few keys, which give way to new ones as the run
//! goes on.

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::history::{Findings, Op};
use crate::judge::dependencies::Consistency;
use crate::judge::{list_append, rw_register};
use crate::message::{Body, body};
use crate::run::Options;
use crate::workload::{Numbers, Script, field, numbers};

const KEYS: u64 = 4;

/// After how many transactions of a client one key gives way to another.
const TXNS_PER_KEY: u64 = 12;

const STEPS_MAX: u64 = 4;

/// Which keys, and what to write to them.
struct Draws {
    numbers: Numbers,
    rng: Rng,
    drawn: u64,
}

impl Draws {
    /// The steps of a transaction: each reads a key, or writes a number to it.
    fn steps(&mut self) -> Vec<(u64, Option<u64>)> {
        let first = self.drawn / TXNS_PER_KEY;
        self.drawn += 1;
        let count = 1 + self.rng.below(STEPS_MAX);
        let mut step = || {
            let key = first + self.rng.below(KEYS);
            (key, (self.rng.below(2) == 0).then(|| self.numbers.next()))
        };
        (0..count).map(|_| step()).collect()
    }

    /// A transaction that reads the keys of the last.
    fn reads(&self) -> Vec<u64> {
        let first = self.drawn.saturating_sub(1) / TXNS_PER_KEY;
        (first..first + KEYS).collect()
    }
}

pub(crate) struct ListAppend(Draws);

impl Script for ListAppend {
    type Request = Vec<list_append::Micro>;
    type Answer = Vec<list_append::Micro>;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        ListAppend(Draws { numbers, rng, drawn: 0 })
    }

    fn draw(&mut self) -> Self::Request {
        let micro = |(key, element)| match element {
            Some(element) => list_append::Micro::Append(key, element),
            None => list_append::Micro::Read(key, Vec::new()),
        };
        self.0.steps().into_iter().map(micro).collect()
    }

    fn draw_final(&mut self) -> Option<Self::Request> {
        let read = |key| list_append::Micro::Read(key, Vec::new());
        Some(self.0.reads().into_iter().map(read).collect())
    }

    fn encode(request: &Self::Request) -> Body {
        let micro = |micro: &list_append::Micro| match micro {
            list_append::Micro::Append(key, element) => json!(["append", key, element]),
            list_append::Micro::Read(key, _) => json!(["r", key, null]),
        };
        txn(request.iter().map(micro).collect())
    }

    fn decode(request: &Self::Request, body: &Body) -> Result<Self::Answer, String> {
        let values = values_read(&Self::encode(request), body)?;
        let mut answer = request.clone();
        for (micro, value) in answer.iter_mut().zip(values) {
            if let (list_append::Micro::Read(_, list), false) = (micro, value.is_null()) {
                *list = numbers(value, "the value of a read")?;
            }
        }
        Ok(answer)
    }

    fn judge(ops: &[Op<Self::Request, Self::Answer>], options: &Options) -> Findings {
        list_append::judge(ops, bar(options))
    }
}

pub(crate) struct RwRegister(Draws);

impl Script for RwRegister {
    type Request = Vec<rw_register::Micro>;
    type Answer = Vec<rw_register::Micro>;

    fn new(numbers: Numbers, rng: Rng) -> Self {
        RwRegister(Draws { numbers, rng, drawn: 0 })
    }

    fn draw(&mut self) -> Self::Request {
        let micro = |(key, value)| match value {
            Some(value) => rw_register::Micro::Write(key, value),
            None => rw_register::Micro::Read(key, None),
        };
        self.0.steps().into_iter().map(micro).collect()
    }

    fn draw_final(&mut self) -> Option<Self::Request> {
        let read = |key| rw_register::Micro::Read(key, None);
        Some(self.0.reads().into_iter().map(read).collect())
    }

    fn encode(request: &Self::Request) -> Body {
        let micro = |micro: &rw_register::Micro| match micro {
            rw_register::Micro::Write(key, value) => json!(["w", key, value]),
            rw_register::Micro::Read(key, _) => json!(["r", key, null]),
        };
        txn(request.iter().map(micro).collect())
    }

    fn decode(request: &Self::Request, body: &Body) -> Result<Self::Answer, String> {
        let values = values_read(&Self::encode(request), body)?;
        let mut answer = request.clone();
        for (micro, value) in answer.iter_mut().zip(values) {
            if let (rw_register::Micro::Read(_, read), false) = (micro, value.is_null()) {
                let wrong = || format!("a read shows {value}, and only numbers were written");
                *read = Some(value.as_u64().ok_or_else(wrong)?);
            }
        }
        Ok(answer)
    }

    fn judge(ops: &[Op<Self::Request, Self::Answer>], options: &Options) -> Findings {
        rw_register::judge(ops, bar(options))
    }
}

fn bar(options: &Options) -> Consistency {
    options
        .consistency
        .or(options.workload.default_consistency())
        .expect("a workload of transactions has a default")
}

fn txn(micros: Vec<Value>) -> Body {
    body("txn", json!({ "txn": micros }))
}

/// The third of every step of an answer, which must have the steps that were asked for.
fn values_read<'b>(request: &Body, answer: &'b Body) -> Result<Vec<&'b Value>, String> {
    let answered = field(answer, "txn")?;
    let wrong = || format!("its steps are {answered}, and those of the request {}", request["txn"]);
    let (asked, steps) = (&request["txn"], answered.as_array().ok_or_else(wrong)?);
    let asked = asked.as_array().expect("it was made above");
    if asked.len() != steps.len() {
        return Err(wrong());
    }
    let mut values = Vec::new();
    for (asked, step) in asked.iter().zip(steps) {
        match step.as_array().map(Vec::as_slice) {
            Some([function, key, value])
                if *function == asked[0]
                    && *key == asked[1]
                    && (asked[0] == "r" || *value == asked[2]) =>
            {
                values.push(value);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(values)
}
