//! What clients ask, when, and what is made of what they are told.

use std::time::Duration;

use serde_json::Value;

use super::{Due, Run};
use crate::address::{ClientNumber, NodeIndex};
use crate::fault::{Complaint, NodeFault};
use crate::history::{Op, Outcome};
use crate::message::{Body, ErrorCode, Message, type_of};
use crate::nodes::Nodes;
use crate::workload::Script;

impl<N: Nodes, S: Script> Run<'_, N, S> {
    /// A node has written to a client.
    pub(super) fn hear_answer(
        &mut self,
        client: ClientNumber,
        node: NodeIndex,
        body: &Body,
        line: &str,
        now: Duration,
    ) -> Result<(), NodeFault> {
        let place = self.clients.iter().position(|known| known.number == client);
        // Whoever has gone on under another number takes no answers any more.
        let Some(place) = place else { return Ok(()) };
        let Some((op, msg_id)) = self.clients[place].open else { return Ok(()) };
        let request = self.ops[op].request.clone();
        let kind = type_of(&S::encode(&request)).to_string();
        let answered = match body.get("in_reply_to") {
            Some(to) if to.as_u64() == Some(msg_id) => understood::<S>(&request, &kind, body),
            // Of an earlier request, once more.
            Some(Value::Number(_)) => return Ok(()),
            Some(other) => Err(format!("its in_reply_to is {other}, not the msg_id of a request")),
            None => Err("it has no in_reply_to, so nobody knows what it answers".into()),
        };
        let outcome = match answered {
            Ok(Understood::Answer(answer)) => Outcome::Answered { answer, at: now },
            Ok(Understood::Refusal { code, text }) => {
                let refusals = self.refusals.entry(code).or_insert((0, text));
                refusals.0 += 1;
                match ErrorCode::of(code).is_some_and(ErrorCode::is_definite) {
                    true => Outcome::Refused,
                    false => Outcome::Unknown,
                }
            }
            Err(why) => {
                let complaint = Complaint::WrongAnswer { request: kind, why };
                return Err(self.fault(node, complaint, Some(line)));
            }
        };
        self.settle(place, op, outcome, now);
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        place: usize,
        op: usize,
        outcome: Outcome<S::Answer>,
        now: Duration,
    ) {
        let kind = type_of(&S::encode(&self.ops[op].request)).to_string();
        let counted = self.kinds.entry(kind).or_default();
        match &outcome {
            Outcome::Answered { .. } => counted.answered += 1,
            Outcome::Refused => counted.refused += 1,
            Outcome::Unknown => counted.in_doubt += 1,
        }
        let client = &mut self.clients[place];
        client.open = None;
        match &outcome {
            Outcome::Answered { answer, .. } => client.script.learn(&self.ops[op].request, answer),
            Outcome::Refused => {}
            Outcome::Unknown => {
                client.number = ClientNumber(self.next_client);
                self.next_client += 1;
            }
        }
        self.ops[op].outcome = outcome;
        if now < self.requests_end {
            self.ask_later(place, now);
        }
    }

    /// Lets a client ask after a while such that all together ask as often as they should.
    pub(super) fn ask_later(&mut self, place: usize, now: Duration) {
        let mean = Duration::from_secs_f64(self.clients.len() as f64 / self.options.rate);
        let after = self.clients[place].pace.duration(&(Duration::ZERO..mean * 2));
        self.later(now + after, Due::Asks(place));
    }

    pub(super) fn ask_next(&mut self, place: usize, now: Duration) {
        if now >= self.requests_end {
            return;
        }
        if self.down.contains(&self.clients[place].node) {
            return self.ask_later(place, now);
        }
        let request = self.clients[place].script.draw();
        self.ask(place, request, false);
    }

    pub(super) fn ask(&mut self, place: usize, request: S::Request, is_final: bool) {
        // The time is noted before the request can arrive.
        let invoked = self.nodes.now();
        let client = &mut self.clients[place];
        let mut body = S::encode(&request);
        self.kinds.entry(type_of(&body).to_string()).or_default().asked += 1;
        body.insert("msg_id".into(), client.next_msg_id.into());
        let op = self.ops.len();
        client.open = Some((op, client.next_msg_id));
        client.next_msg_id += 1;
        let (number, node) = (client.number, client.node);
        let outcome = Outcome::Unknown;
        self.ops.push(Op { client: number, node, request, invoked, is_final, outcome });
        self.later(invoked + self.options.timeout, Due::GivesUp(op));
        let message = Message { src: number.to_string(), dest: node.to_string(), body };
        self.nodes.deliver(node, &message);
    }

    pub(super) fn give_up(&mut self, op: usize, now: Duration) {
        let place =
            self.clients.iter().position(|client| client.open.is_some_and(|open| open.0 == op));
        if let Some(place) = place {
            self.settle(place, op, Outcome::Unknown, now);
        }
    }

    pub(super) fn await_answers(&mut self) -> Result<(), NodeFault> {
        // Each is answered or given up in time, so this ends.
        while self.clients.iter().any(|client| client.open.is_some()) {
            self.turn(Duration::MAX)?;
        }
        Ok(())
    }
}

/// What a body says to a client.
enum Understood<A> {
    Answer(A),
    Refusal { code: u64, text: String },
}

fn understood<S: Script>(
    request: &S::Request,
    kind: &str,
    body: &Body,
) -> Result<Understood<S::Answer>, String> {
    let said = type_of(body);
    if said == format!("{kind}_ok") {
        return S::decode(request, body).map(Understood::Answer);
    }
    if said != "error" {
        return Err(format!("its type is `{said}`, not `{kind}_ok` or `error`"));
    }
    let code = body.get("code").and_then(Value::as_u64);
    let code = code.ok_or("it is an error without a number as its `code`")?;
    let meant = ErrorCode::of(code).and_then(|code| S::decode_error(request, code));
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default().to_string();
    Ok(meant.map_or(Understood::Refusal { code, text }, Understood::Answer))
}
