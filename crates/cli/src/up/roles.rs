//! Who leads, and when that changes.

use std::time::Duration;

use quorate_client::proto::etcdserverpb::StatusResponse;
use quorate_client::{Client, ClientError, Endpoint, Options};
use tokio::sync::mpsc;

use crate::error::CliError;
use crate::status::Role;
use crate::up::layout::Layout;

/// How often the nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long a node may take to answer before it counts as silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The nodes' answers to one round of questions, in their order.
pub(crate) type Seen = Vec<(Endpoint, Result<StatusResponse, ClientError>)>;

/// What the nodes last said that they are.
#[derive(Debug)]
pub(crate) struct Roles {
    names: Vec<String>,
    known: Vec<Option<(Role, u64)>>,
}

impl Roles {
    /// Begins to ask the nodes, for as long as somebody receives the answers.
    pub(crate) fn watch(layout: &Layout) -> Result<(Self, mpsc::Receiver<Seen>), CliError> {
        let endpoints = crate::endpoints::parse(&layout.endpoints())?;
        let options = Options { connect_timeout: ANSWER_WITHIN, timeout: ANSWER_WITHIN };
        let client = Client::new(&endpoints, options)?;
        let (answers, seen) = mpsc::channel(1);
        tokio::spawn(async move {
            while answers.send(client.statuses().await).await.is_ok() {
                tokio::time::sleep(ASK_EVERY).await;
            }
        });
        let names: Vec<String> = layout.members.iter().map(|member| member.name.clone()).collect();
        Ok((Roles { known: vec![None; names.len()], names }, seen))
    }

    /// Takes in a round of answers, and returns a line for each change.
    pub(crate) fn update(&mut self, seen: Seen) -> Vec<String> {
        let mut changes = Vec::new();
        for (at, (_, answer)) in seen.into_iter().enumerate() {
            let now = answer.ok().map(|status| (Role::of(&status), status.raft_term));
            let before = std::mem::replace(&mut self.known[at], now);
            if before.map(|(role, _)| role) != now.map(|(role, _)| role) {
                let name = &self.names[at];
                changes.push(match now {
                    Some((role, term)) => format!("{name}: {} (term {term})", role.name()),
                    None => format!("{name}: does not answer"),
                });
            }
        }
        changes
    }

    /// What the node last said that it is, in a word.
    pub(crate) fn of(&self, at: usize) -> &'static str {
        self.known[at].map_or("does not answer", |(role, _)| role.name())
    }

    /// The node that leads: of several that say so, the one of the highest term.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leaders = self.known.iter().enumerate().filter_map(|(at, known)| match known {
            Some((Role::Leader, term)) => Some((*term, at)),
            _ => None,
        });
        leaders.max().map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::proto::etcdserverpb::ResponseHeader;

    use super::*;

    /// Each node's answer: the leader it knows and its term, or none.
    fn seen(answers: &[Option<(u64, u64)>]) -> Seen {
        let answer = |own: usize, leader, raft_term| StatusResponse {
            header: Some(ResponseHeader { member_id: own as u64 + 1, ..ResponseHeader::default() }),
            leader,
            raft_term,
            ..StatusResponse::default()
        };
        let at: Endpoint = "127.0.0.1:1".parse().unwrap();
        let silent = ClientError::NoEndpoints;
        let answers = answers.iter().enumerate().map(|(own, known)| {
            (at.clone(), known.map(|(l, term)| answer(own, l, term)).ok_or(silent.clone()))
        });
        answers.collect()
    }

    #[test]
    fn only_changes_are_told() {
        let mut roles = Roles { names: vec!["n1".into(), "n2".into()], known: vec![None; 2] };
        let first = roles.update(seen(&[Some((1, 3)), Some((1, 3))]));
        assert_eq!(first, ["n1: leader (term 3)", "n2: follower (term 3)"]);
        assert_eq!(roles.update(seen(&[Some((1, 3)), Some((1, 3))])), Vec::<String>::new());
        let after = roles.update(seen(&[None, Some((2, 4))]));
        assert_eq!(after, ["n1: does not answer", "n2: leader (term 4)"]);
        assert_eq!((roles.of(0), roles.of(1)), ("does not answer", "leader"));
    }

    #[test]
    fn of_two_that_say_they_lead_the_later_one_does() {
        let mut roles = Roles { names: vec!["n1".into(), "n2".into()], known: vec![None; 2] };
        roles.update(seen(&[Some((1, 3)), Some((2, 4))]));
        assert_eq!(roles.leader(), Some(1));
    }
}
