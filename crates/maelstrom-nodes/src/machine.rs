//! What stands on a replicated log: one small deterministic machine a workload, from the body of a request to the body of
//! its answer.

use std::collections::BTreeMap;

use quorate_maelstrom::Workload;
use quorate_maelstrom::message::{Body, ErrorCode, body, error_body, type_of};
use serde_json::{Map, Value, json};

/// The state of a workload. A function of the requests that it was given, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    workload: Workload,
    ids: u64,
    elements: Vec<Value>,
    sum: i64,
    /// Registers and lists, by their keys in JSON.
    held: BTreeMap<String, Value>,
    logs: BTreeMap<String, Vec<Value>>,
    committed: BTreeMap<String, u64>,
}

/// What is wrong with a request: the error that answers it.
type Refused = (ErrorCode, String);

impl Machine {
    pub(crate) fn new(workload: Workload) -> Self {
        Machine {
            workload,
            ids: 0,
            elements: Vec::new(),
            sum: 0,
            held: BTreeMap::new(),
            logs: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    /// Takes one request. What makes no sense changes nothing.
    pub(crate) fn apply(&mut self, request: &Body) -> Body {
        let kind = type_of(request);
        let applied = match self.workload {
            Workload::Echo if kind == "echo" => {
                Ok(json!({ "echo": request.get("echo").cloned().unwrap_or_default() }))
            }
            Workload::UniqueIds if kind == "generate" => {
                self.ids += 1;
                Ok(json!({ "id": self.ids }))
            }
            Workload::Broadcast | Workload::GSet => self.set(kind, request),
            Workload::GCounter | Workload::PnCounter => self.counter(kind, request),
            Workload::LinKv => self.register(kind, request),
            Workload::Kafka => self.broker(kind, request),
            Workload::TxnListAppend | Workload::TxnRwRegister if kind == "txn" => self.txn(request),
            _ => Err(unknown(kind)),
        };
        match applied {
            Ok(fields) => body(&format!("{kind}_ok"), fields),
            Err((code, text)) => error_body(code, &text),
        }
    }

    fn set(&mut self, kind: &str, request: &Body) -> Result<Value, Refused> {
        let (add, element, all) = match self.workload {
            Workload::Broadcast => ("broadcast", "message", "messages"),
            _ => ("add", "element", "value"),
        };
        if kind == "read" {
            return Ok(json!({ all: self.elements }));
        }
        if kind != add {
            return Err(unknown(kind));
        }
        self.elements.push(field(request, element)?.clone());
        Ok(json!({}))
    }

    fn counter(&mut self, kind: &str, request: &Body) -> Result<Value, Refused> {
        match kind {
            "read" => Ok(json!({ "value": self.sum })),
            "add" => {
                let delta = field(request, "delta")?;
                let delta = delta.as_i64().ok_or_else(|| malformed("delta is no whole number"))?;
                self.sum = self.sum.saturating_add(delta);
                Ok(json!({}))
            }
            _ => Err(unknown(kind)),
        }
    }

    fn register(&mut self, kind: &str, request: &Body) -> Result<Value, Refused> {
        let key = field(request, "key")?.to_string();
        let none = || (ErrorCode::KeyDoesNotExist, format!("there is no key {key}"));
        match kind {
            "read" => Ok(json!({ "value": self.held.get(&key).ok_or_else(none)? })),
            "write" => {
                self.held.insert(key, field(request, "value")?.clone());
                Ok(json!({}))
            }
            "cas" => {
                let (from, to) = (field(request, "from")?, field(request, "to")?);
                let held = self.held.get_mut(&key).ok_or_else(none)?;
                if held != from {
                    let text = format!("it is {held}, not {from}");
                    return Err((ErrorCode::PreconditionFailed, text));
                }
                *held = to.clone();
                Ok(json!({}))
            }
            _ => Err(unknown(kind)),
        }
    }

    fn broker(&mut self, kind: &str, request: &Body) -> Result<Value, Refused> {
        match kind {
            "send" => {
                let key = field(request, "key")?.as_str().ok_or_else(|| malformed("key"))?;
                let log = self.logs.entry(key.to_owned()).or_default();
                log.push(field(request, "msg")?.clone());
                Ok(json!({ "offset": log.len() - 1 }))
            }
            "poll" => {
                let mut polled = Map::new();
                for (key, from) in offsets(request)? {
                    let log = self.logs.get(&key).map_or(&[][..], Vec::as_slice);
                    let found = (0_u64..).zip(log).filter(|(offset, _)| *offset >= from);
                    polled.insert(key, found.map(|(offset, held)| json!([offset, held])).collect());
                }
                Ok(json!({ "msgs": polled }))
            }
            "commit_offsets" => {
                for (key, upto) in offsets(request)? {
                    let committed = self.committed.entry(key).or_default();
                    *committed = upto.max(*committed);
                }
                Ok(json!({}))
            }
            "list_committed_offsets" => {
                let keys = field(request, "keys")?.as_array().ok_or_else(|| malformed("keys"))?;
                let known = keys.iter().filter_map(|key| {
                    let key = key.as_str()?;
                    Some((key.to_owned(), json!(self.committed.get(key)?)))
                });
                Ok(json!({ "offsets": known.collect::<Map<_, _>>() }))
            }
            _ => Err(unknown(kind)),
        }
    }

    /// All steps of a transaction, or none: a step that makes no sense is found before the first is taken.
    fn txn(&mut self, request: &Body) -> Result<Value, Refused> {
        let steps = field(request, "txn")?.as_array().ok_or_else(|| malformed("txn"))?;
        let read = |step: &Value| match step.as_array().map(Vec::as_slice) {
            Some([Value::String(what), key, value]) if matches!(&**what, "r" | "w" | "append") => {
                Ok((what.clone(), key.clone(), value.clone()))
            }
            _ => Err(malformed(&format!("{step} is no step of a transaction"))),
        };
        let steps = steps.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut done = Vec::new();
        for (what, key, value) in steps {
            let held = self.held.entry(key.to_string()).or_default();
            match &*what {
                "r" => {
                    done.push(json!([what, key, held]));
                    continue;
                }
                "w" => *held = value.clone(),
                _ => match held {
                    Value::Array(list) => list.push(value.clone()),
                    _ => *held = json!([value]),
                },
            }
            done.push(json!([what, key, value]));
        }
        Ok(json!({ "txn": done }))
    }
}

/// What a node says to a request that is not of its workload.
pub(crate) fn unknown(kind: &str) -> Refused {
    (ErrorCode::NotSupported, format!("this node does not know `{kind}`"))
}

pub(crate) fn malformed(what: &str) -> Refused {
    (ErrorCode::MalformedRequest, format!("that cannot be understood: {what}"))
}

pub(crate) fn field<'b>(request: &'b Body, name: &str) -> Result<&'b Value, Refused> {
    request.get(name).ok_or_else(|| malformed(&format!("there is no {name}")))
}

fn offsets(request: &Body) -> Result<Vec<(String, u64)>, Refused> {
    let wrong = || malformed("offsets are an object with numbers");
    let offsets = field(request, "offsets")?.as_object().ok_or_else(wrong)?;
    let read = |(key, value): (&String, &Value)| Some((key.clone(), value.as_u64()?));
    offsets.iter().map(|entry| read(entry).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(machine: &mut Machine, kind: &str, fields: Value) -> Value {
        Value::Object(machine.apply(&body(kind, fields)))
    }

    #[test]
    fn a_register_swaps_only_what_is_there_and_as_expected() {
        let mut machine = Machine::new(Workload::LinKv);
        let swap = json!({ "key": 1, "from": 2, "to": 3 });
        assert_eq!(ask(&mut machine, "cas", swap.clone())["code"], 20);
        ask(&mut machine, "write", json!({ "key": 1, "value": 7 }));
        assert_eq!(ask(&mut machine, "cas", swap)["code"], 22);
        ask(&mut machine, "cas", json!({ "key": 1, "from": 7, "to": 8 }));
        assert_eq!(ask(&mut machine, "read", json!({ "key": 1 }))["value"], 8);
        assert_eq!(ask(&mut machine, "txn", json!({ "key": 1 }))["code"], 10);
    }

    #[test]
    fn a_transaction_that_makes_no_sense_changes_nothing() {
        let mut machine = Machine::new(Workload::TxnListAppend);
        let wrong = json!({ "txn": [["append", 1, 2], ["burn", 1, null]] });
        assert_eq!(ask(&mut machine, "txn", wrong)["code"], 12);
        let right = json!({ "txn": [["r", 1, null], ["append", 1, 3], ["r", 1, null]] });
        let answer = ask(&mut machine, "txn", right);
        assert_eq!(answer["txn"], json!([["r", 1, null], ["append", 1, 3], ["r", 1, [3]]]));
    }

    #[test]
    fn a_poll_begins_where_it_is_asked_to_and_commits_never_go_back() {
        let mut machine = Machine::new(Workload::Kafka);
        for message in 5..8 {
            ask(&mut machine, "send", json!({ "key": "a", "msg": message }));
        }
        let polled = ask(&mut machine, "poll", json!({ "offsets": { "a": 1, "b": 0 } }));
        assert_eq!(polled["msgs"], json!({ "a": [[1, 6], [2, 7]], "b": [] }));
        for upto in [2, 1] {
            ask(&mut machine, "commit_offsets", json!({ "offsets": { "a": upto } }));
        }
        let listed = ask(&mut machine, "list_committed_offsets", json!({ "keys": ["a", "b"] }));
        assert_eq!(listed["offsets"], json!({ "a": 2 }));
    }
}
