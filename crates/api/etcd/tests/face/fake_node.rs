//! A node that is a map in memory: enough to answer what a face asks, and nothing that would test the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_kv::auth::{AuthAnswer, AuthResponse};
use quorate_kv::error::Error;
use quorate_kv::node::members::MemberInfo;
use quorate_kv::request::{
    Command, CompactResponse, Compare, CompareTarget, DeleteRangeRequest, DeleteRangeResponse,
    KeyRange, KeyValue, Operation, PutRequest, PutResponse, Query, RangeEnd, RangeRequest,
    RangeResponse, Relation, Response, Revision, TxnRequest, TxnResponse,
};
use quorate_kv::service::{Member, MemberChange, Members, NodeRequest, NodeResponse, Role, Status};
use quorate_kv::tally::Tally;
use quorate_runtime::Handle;
use quorate_runtime::handle::Question;
use tokio::sync::mpsc::UnboundedReceiver;

/// What asks the node.
pub(crate) type Node = Handle<NodeRequest, NodeResponse>;

/// What the node is asked.
pub(crate) type Inbox = UnboundedReceiver<Question<NodeRequest, NodeResponse>>;

/// The term of the fake node.
pub(crate) const TERM: u64 = 7;

/// The node that leads, as the fake node says.
pub(crate) const LEADER: NodeId = NodeId(1);

/// How a fake node is to behave, and what it has been asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeNode {
    /// What it answers every command and query, instead of carrying it out.
    pub(crate) refusal: Option<Error>,
    /// Whether it knows of no leader.
    pub(crate) is_leaderless: bool,
    /// Whether it has no vote.
    pub(crate) is_learner: bool,
    /// Whether it learns of changes of the members only when it is asked for what all have agreed on.
    pub(crate) is_behind: bool,
    /// Every request so far.
    pub(crate) asked: Arc<Mutex<Vec<NodeRequest>>>,
}

impl FakeNode {
    /// A node that refuses every command and query.
    pub(crate) fn refusing(error: Error) -> Self {
        FakeNode { refusal: Some(error), ..FakeNode::default() }
    }

    /// Has the node answer, in a task of its own, for as long as somebody may ask it.
    pub(crate) fn start(self) -> Node {
        let (node, mut inbox): (Node, Inbox) = Handle::channel();
        tokio::spawn(async move {
            let mut map = Map { revision: Revision(1), ..Map::default() };
            while let Some(Question { request, answer }) = inbox.recv().await {
                self.asked.lock().expect("no test panics with the lock").push(request.clone());
                // The asker may be gone, which is its right.
                let _ = answer.send(self.answer(&mut map, request));
            }
        });
        node
    }

    fn answer(&self, map: &mut Map, request: NodeRequest) -> NodeResponse {
        let outcome = match (request, self.refusal.clone()) {
            (NodeRequest::Status { .. }, _) => return NodeResponse::Status(self.status(map)),
            (NodeRequest::TransferLeadership { .. }, refusal) => {
                return NodeResponse::Transfer(refusal.map_or(Ok(()), Err));
            }
            (NodeRequest::Backup { .. }, _) => {
                let refusal = Error::Unsupported("a backup of a map in memory");
                return NodeResponse::Backup(Err(refusal));
            }
            (NodeRequest::Digest { .. }, _) => {
                return NodeResponse::Digest(Err(Error::Unsupported(
                    "a digest of a map in memory",
                )));
            }
            (NodeRequest::History { .. }, _) => {
                return NodeResponse::History(Err(Error::Unsupported("a map without a past")));
            }
            (NodeRequest::Tick { .. }, _) => Ok(Response::Ticked),
            (NodeRequest::Members { is_linearizable, .. }, _) => {
                if !self.is_behind || is_linearizable {
                    map.known_alarms = map.alarms.clone();
                }
                return NodeResponse::Members(Ok(map.members()));
            }
            (NodeRequest::ChangeMembers { .. }, Some(error)) => {
                return NodeResponse::Members(Err(error));
            }
            (NodeRequest::ChangeMembers { change, .. }, None) => {
                return NodeResponse::Members(Ok(map.change_members(change)));
            }
            (_, Some(error)) => Err(error),
            (NodeRequest::Command { command, .. }, None) => Ok(map.carry_out(command)),
            (NodeRequest::Query { query: Query::Range(range), .. }, None) => {
                Ok(Response::Range(map.range(&range)))
            }
            (NodeRequest::Query { query: Query::Txn(txn), .. }, None) => {
                Ok(Response::Txn(map.txn(txn)))
            }
            // Anybody may do anything.
            (NodeRequest::Query { query: Query::Auth(_), .. }, None) => {
                let (revision, answer) = (map.revision, AuthAnswer::Done);
                Ok(Response::Auth(AuthResponse { revision, auth_revision: 1, answer }))
            }
            (NodeRequest::For { asker, .. }, None) => {
                unreachable!("no test of the face alone has {asker:?}")
            }
            (NodeRequest::Query { query, .. }, None) => {
                unreachable!("no test of the face alone asks for {query:?}")
            }
        };
        NodeResponse::Done { term: TERM, outcome }
    }

    /// How it is doing, with what is in the map.
    pub(crate) fn status(&self, map: &Map) -> Status {
        Status {
            role: Role::Leader,
            is_learner: self.is_learner,
            log_base: 0,
            is_counted: true,
            life: 0,
            is_removed: false,
            leader: (!self.is_leaderless).then_some(LEADER),
            term: TERM,
            leader_changes: 3,
            commit_index: 12,
            applied_index: 11,
            revision: map.revision,
            compact_revision: map.compact_revision,
            keys: map.keys.len(),
            bytes: 4096,
            occupied_bytes: 8192,
            is_full: false,
            is_over_quota: false,
            quota_bytes: Some(16 << 20),
            tally: Tally {
                puts: 21,
                ranges: 22,
                deletes: 23,
                txns: 24,
                leases_granted: 25,
                leases_revoked: 26,
                leases_renewed: 27,
            },
            messages_unread: 28,
            messages_nonsense: 29,
        }
    }
}

/// What the fake node stores.
#[derive(Debug, Default)]
pub(crate) struct Map {
    revision: Revision,
    compact_revision: Revision,
    /// Who the members are beside the two that it begins with, and the alarms of the first.
    added: Vec<Member>,
    alarms: Vec<i32>,
    /// Those that the node knows of.
    known_alarms: Vec<i32>,
    keys: BTreeMap<Bytes, KeyValue>,
}

impl Map {
    fn members(&self) -> Members {
        let founder = |id: u64, alarm_numbers: Vec<i32>| Member {
            node: NodeId(id),
            is_learner: false,
            info: MemberInfo {
                name: format!("node-{id}"),
                peer_urls: vec![format!("http://peer-{id}:2380")],
                client_urls: vec![format!("http://client-{id}:2379")],
                alarm_numbers,
                ..Default::default()
            },
        };
        let founders = [founder(1, self.known_alarms.clone()), founder(2, Vec::new())];
        Members { term: TERM, members: founders.into_iter().chain(self.added.clone()).collect() }
    }

    fn change_members(&mut self, change: MemberChange) -> Members {
        match change {
            MemberChange::Add { node, peer_urls, is_learner } => {
                let info = MemberInfo { peer_urls, awaits_vote: !is_learner, ..Default::default() };
                self.added.push(Member { node, is_learner: true, info });
            }
            MemberChange::Remove { node } => self.added.retain(|member| member.node != node),
            MemberChange::SetAlarm { alarm, is_raised, .. } => {
                self.alarms = if is_raised { vec![alarm.number()] } else { Vec::new() };
            }
            other => panic!("no test asks for {other:?}"),
        }
        self.members()
    }

    fn carry_out(&mut self, command: Command) -> Response {
        match command {
            Command::Put(put) => Response::Put(self.put(put)),
            Command::DeleteRange(delete) => Response::DeleteRange(self.delete_range(&delete)),
            Command::Txn(txn) => Response::Txn(self.txn(txn)),
            Command::Compact(compact) => {
                self.compact_revision = compact.revision;
                Response::Compact(CompactResponse { revision: self.revision })
            }
            other => unreachable!("no test of the face alone asks for {other:?}"),
        }
    }

    fn put(&mut self, put: PutRequest) -> PutResponse {
        self.revision.0 += 1;
        let before = self.keys.get(&put.key).cloned();
        let key_value = KeyValue {
            create_revision: before.as_ref().map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            key: put.key.clone(),
            value: put.value,
            lease: put.lease,
        };
        self.keys.insert(put.key, key_value);
        PutResponse { revision: self.revision, prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete_range(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let gone: Vec<KeyValue> = self.keys_in(&delete.range).cloned().collect();
        self.keys.retain(|key, _| gone.iter().all(|kv| kv.key != key));
        self.revision.0 += i64::from(!gone.is_empty());
        DeleteRangeResponse {
            revision: self.revision,
            deleted: gone.len(),
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    fn range(&self, range: &RangeRequest) -> RangeResponse {
        let kvs: Vec<KeyValue> = self.keys_in(&range.range).cloned().collect();
        RangeResponse { revision: self.revision, count: kvs.len(), more: false, kvs }
    }

    fn txn(&mut self, txn: TxnRequest) -> TxnResponse {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let block = if succeeded { txn.success } else { txn.failure };
        let responses = block
            .into_iter()
            .map(|operation| match operation {
                Operation::Range(range) => Response::Range(self.range(&range)),
                Operation::Put(put) => Response::Put(self.put(put)),
                Operation::DeleteRange(delete) => Response::DeleteRange(self.delete_range(&delete)),
                Operation::Txn(txn) => Response::Txn(self.txn(txn)),
            })
            .collect();
        TxnResponse { revision: self.revision, succeeded, responses }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let key_value = self.keys_in(&compare.range).next();
        let number = |field: fn(&KeyValue) -> i64| key_value.map_or(0, field);
        let order = match &compare.target {
            CompareTarget::Version(version) => number(|kv| kv.version).cmp(version),
            CompareTarget::CreateRevision(revision) => {
                number(|kv| kv.create_revision.0).cmp(&revision.0)
            }
            CompareTarget::ModRevision(revision) => number(|kv| kv.mod_revision.0).cmp(&revision.0),
            CompareTarget::Lease(lease) => number(|kv| kv.lease.0).cmp(&lease.0),
            CompareTarget::Value(value) => match key_value {
                Some(key_value) => key_value.value.cmp(value),
                None => return false,
            },
        };
        match compare.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::Greater => order.is_gt(),
        }
    }

    fn keys_in<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a KeyValue> {
        self.keys.range(range.start.clone()..).map(|(_, key_value)| key_value).take_while(
            |key_value| match &range.end {
                RangeEnd::Single => key_value.key == range.start,
                RangeEnd::Before(end) => key_value.key < end,
                RangeEnd::Unbounded => true,
            },
        )
    }
}
