//! One client: what it asks next, and how a question of the model's becomes a request of etcd's and back.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, DeleteOptions, DeleteResponse, Error, GetOptions,
    GetResponse, KeyValue as EtcdKeyValue, PutOptions, PutResponse, ResponseHeader, Txn, TxnOp,
    TxnOpResponse,
};
use quorate_check::ClientId;
use quorate_check::kv_model::{
    Action, Compare, KeyValue, KvInput, KvOutput, KvReply, Relation, Reply, Revision, Span, Target,
};

/// A client that asks one thing after another.
#[derive(Debug)]
pub(crate) struct Asker {
    id: ClientId,
    client: ClientOfOneNode,
    keys: u64,
    /// How many questions it has asked. No two puts of one run have the same value.
    asked: u64,
    /// What it last saw of a key, to compare with.
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The stock client has no `Debug`.
struct ClientOfOneNode(Client);

impl std::fmt::Debug for ClientOfOneNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Asker {
    pub(crate) fn new(id: ClientId, client: Client, keys: u64) -> Self {
        Asker { id, client: ClientOfOneNode(client), keys, asked: 0, seen: BTreeMap::new() }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    /// What to ask next: four puts, three reads, two compare-and-swaps and a deletion in ten, in an order that is the
    /// same in every run.
    pub(crate) fn next_question(&mut self) -> KvInput {
        self.asked += 1;
        let mut hasher = DefaultHasher::new();
        (self.id, self.asked).hash(&mut hasher);
        let drawn = hasher.finish();
        let key = format!("key-{:02}", drawn / 1000 % self.keys).into_bytes();
        let wants_previous = (drawn / 10).is_multiple_of(2);
        let value = format!("{}-{}", self.id.0, self.asked).into_bytes();
        match drawn % 10 {
            0..4 => KvInput::One(Action::Put { key, value, wants_previous }),
            4..6 => KvInput::get(key),
            6 => KvInput::range(Span::All),
            7..9 => self.swap(key, value),
            _ => KvInput::One(Action::Delete { span: Span::One(key), wants_previous }),
        }
    }

    /// Puts the value if the key holds what was last seen of it, or is not there if it was never seen; reads it
    /// otherwise.
    fn swap(&self, key: Vec<u8>, value: Vec<u8>) -> KvInput {
        let target = match self.seen.get(&key) {
            Some(seen) => Target::Value(seen.clone()),
            None => Target::Version(0),
        };
        KvInput::Txn {
            compares: vec![Compare { key: key.clone(), relation: Relation::Equal, target }],
            success: vec![Action::Put { key: key.clone(), value, wants_previous: false }],
            failure: vec![Action::Range { span: Span::One(key) }],
        }
    }

    /// Asks the node.
    pub(crate) async fn ask(&mut self, input: &KvInput) -> Result<KvOutput, Error> {
        let client = &mut self.client.0;
        let output = match input {
            KvInput::One(Action::Put { key, value, wants_previous }) => {
                let options = put_options(*wants_previous);
                let put = client.put(key.clone(), value.clone(), Some(options)).await?;
                one(put.header(), put_reply(&put))
            }
            KvInput::One(Action::Range { span }) => {
                let (key, options) = range_options(span);
                let got = client.get(key, Some(options)).await?;
                one(got.header(), range_reply(&got))
            }
            KvInput::One(Action::Delete { span, wants_previous }) => {
                let (key, options) = delete_options(span, *wants_previous);
                let deleted = client.delete(key, Some(options)).await?;
                one(deleted.header(), delete_reply(&deleted))
            }
            KvInput::Txn { compares, success, failure } => {
                let txn = Txn::new()
                    .when(compares.iter().map(compare).collect::<Vec<_>>())
                    .and_then(success.iter().map(operation).collect::<Vec<_>>())
                    .or_else(failure.iter().map(operation).collect::<Vec<_>>());
                let done = client.txn(txn).await?;
                let replies = done.op_responses().iter().map(txn_reply).collect();
                let reply = KvReply::Txn { succeeded: done.succeeded(), replies };
                KvOutput { revision: revision(done.header()), reply }
            }
        };
        self.remember(&output);
        Ok(output)
    }

    fn remember(&mut self, output: &KvOutput) {
        let replies = match &output.reply {
            KvReply::One(reply) => std::slice::from_ref(reply),
            KvReply::Txn { replies, .. } => replies,
        };
        for reply in replies {
            if let Reply::Range { entries } = reply {
                let seen = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
                self.seen.extend(seen);
            }
        }
    }
}

fn one(header: Option<&ResponseHeader>, reply: Reply) -> KvOutput {
    KvOutput { revision: revision(header), reply: KvReply::One(reply) }
}

/// An answer without a header, or with one before the store began, is judged as it is: as a revision that cannot be.
fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision().unsigned_abs()))
}

fn put_options(wants_previous: bool) -> PutOptions {
    if wants_previous { PutOptions::new().with_prev_key() } else { PutOptions::new() }
}

fn range_options(span: &Span) -> (Vec<u8>, GetOptions) {
    let options = GetOptions::new();
    match span {
        Span::One(key) => (key.clone(), options),
        Span::Between(from, to) => (from.clone(), options.with_range(to.clone())),
        Span::From(from) => (from.clone(), options.with_from_key()),
        Span::All => (Vec::new(), options.with_all_keys()),
    }
}

fn delete_options(span: &Span, wants_previous: bool) -> (Vec<u8>, DeleteOptions) {
    let options = DeleteOptions::new();
    let options = if wants_previous { options.with_prev_key() } else { options };
    match span {
        Span::One(key) => (key.clone(), options),
        Span::Between(from, to) => (from.clone(), options.with_range(to.clone())),
        Span::From(from) => (from.clone(), options.with_from_key()),
        Span::All => (Vec::new(), options.with_all_keys()),
    }
}

fn compare(compare: &Compare) -> EtcdCompare {
    let relation = match compare.relation {
        Relation::Equal => CompareOp::Equal,
        Relation::NotEqual => CompareOp::NotEqual,
        Relation::Less => CompareOp::Less,
        Relation::Greater => CompareOp::Greater,
    };
    let (key, signed) = (compare.key.clone(), |number: u64| {
        i64::try_from(number)
            .expect("what is compared with was seen in an answer, where it is signed")
    });
    match &compare.target {
        Target::Value(value) => EtcdCompare::value(key, relation, value.clone()),
        Target::Version(version) => EtcdCompare::version(key, relation, signed(*version)),
        Target::CreateRevision(revision) => {
            EtcdCompare::create_revision(key, relation, signed(revision.0))
        }
        Target::ModRevision(revision) => {
            EtcdCompare::mod_revision(key, relation, signed(revision.0))
        }
    }
}

fn operation(action: &Action) -> TxnOp {
    match action {
        Action::Put { key, value, wants_previous } => {
            TxnOp::put(key.clone(), value.clone(), Some(put_options(*wants_previous)))
        }
        Action::Range { span } => {
            let (key, options) = range_options(span);
            TxnOp::get(key, Some(options))
        }
        Action::Delete { span, wants_previous } => {
            let (key, options) = delete_options(span, *wants_previous);
            TxnOp::delete(key, Some(options))
        }
    }
}

fn txn_reply(response: &TxnOpResponse) -> Reply {
    match response {
        TxnOpResponse::Put(put) => put_reply(put),
        TxnOpResponse::Get(got) => range_reply(got),
        TxnOpResponse::Delete(deleted) => delete_reply(deleted),
        TxnOpResponse::Txn(_) => panic!("a nested transaction was answered that nobody asked for"),
    }
}

fn put_reply(put: &PutResponse) -> Reply {
    Reply::Put { previous: put.prev_key().map(entry) }
}

fn range_reply(got: &GetResponse) -> Reply {
    Reply::Range { entries: got.kvs().iter().map(entry).collect() }
}

fn delete_reply(deleted: &DeleteResponse) -> Reply {
    let previous = deleted.prev_kvs().iter().map(entry).collect();
    Reply::Delete { deleted: deleted.deleted().unsigned_abs(), previous }
}

pub(crate) fn entry(kv: &EtcdKeyValue) -> KeyValue {
    KeyValue {
        key: kv.key().to_vec(),
        value: kv.value().to_vec(),
        create_revision: Revision(kv.create_revision().unsigned_abs()),
        mod_revision: Revision(kv.mod_revision().unsigned_abs()),
        version: kv.version().unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn a_client_asks_everything_there_is_and_never_puts_a_value_twice() {
        let client = Client::connect(["http://127.0.0.1:1"], None).await.expect("it is lazy");
        let mut asker = Asker::new(ClientId(1), client, 5);
        let (mut values, mut kinds) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..200 {
            let kind = match asker.next_question() {
                KvInput::One(Action::Put { value, .. }) => {
                    assert!(values.insert(value), "a value is put twice");
                    "put"
                }
                KvInput::One(Action::Range { span: Span::All }) => "range",
                KvInput::One(Action::Range { .. }) => "get",
                KvInput::One(Action::Delete { .. }) => "delete",
                KvInput::Txn { success, .. } => {
                    let [Action::Put { value, .. }] = &success[..] else { panic!("no put") };
                    assert!(values.insert(value.clone()), "a value is put twice");
                    "swap"
                }
            };
            kinds.insert(kind);
        }
        assert_eq!(kinds, BTreeSet::from(["delete", "get", "put", "range", "swap"]));
    }
}
