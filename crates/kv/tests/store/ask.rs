//! Short ways to ask, so that a test shows only what it is about.

use bytes::Bytes;
use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

pub(crate) fn key(key: &str) -> KeyRange {
    KeyRange { start: bytes(key), end: RangeEnd::Single }
}

pub(crate) fn between(start: &str, end: &str) -> KeyRange {
    KeyRange { start: bytes(start), end: RangeEnd::Before(bytes(end)) }
}

pub(crate) fn from(start: &str) -> KeyRange {
    KeyRange { start: bytes(start), end: RangeEnd::Unbounded }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

pub(crate) fn delete(range: KeyRange) -> DeleteRangeRequest {
    DeleteRangeRequest { range, prev_kv: false }
}

pub(crate) fn get(range: KeyRange) -> RangeRequest {
    RangeRequest::of(range)
}

pub(crate) fn get_at(range: KeyRange, revision: i64) -> RangeRequest {
    RangeRequest { revision: Some(Revision(revision)), ..get(range) }
}

/// A transaction without conditions.
pub(crate) fn always(operations: Vec<Operation>) -> TxnRequest {
    TxnRequest { success: operations, ..TxnRequest::default() }
}

pub(crate) fn compare(range: KeyRange, relation: Relation, target: CompareTarget) -> Compare {
    Compare { range, relation, target }
}

/// The store's answers, each in its own type.
pub(crate) trait Ask {
    fn put(&mut self, request: PutRequest) -> Result<PutResponse, Error>;
    fn delete(&mut self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Error>;
    fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, Error>;
    fn compact(&mut self, revision: i64, physical: bool) -> Result<CompactResponse, Error>;
    fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error>;
    /// The keys with their values now, as `key=value` separated by spaces.
    fn content(&self) -> String {
        self.content_of(get(from("\0")))
    }
    fn content_of(&self, request: RangeRequest) -> String {
        let kvs = self.range(request).expect("the read is refused").kvs;
        let show = |kv: &KeyValue| format!("{}={}", text(&kv.key), text(&kv.value));
        kvs.iter().map(show).collect::<Vec<_>>().join(" ")
    }
    /// A key's creation, last write, version and value.
    fn look(&self, name: &str) -> Option<(i64, i64, i64, String)> {
        let kvs = self.range(get(key(name))).expect("a read of now is refused").kvs;
        kvs.first().map(|kv| {
            (kv.create_revision.0, kv.mod_revision.0, kv.version, text(&kv.value).to_owned())
        })
    }
}

impl Ask for Store {
    fn put(&mut self, request: PutRequest) -> Result<PutResponse, Error> {
        match self.apply(&Command::Put(request))? {
            Response::Put(response) => Ok(response),
            other => panic!("a put was answered with {other:?}"),
        }
    }

    fn delete(&mut self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Error> {
        match self.apply(&Command::DeleteRange(request))? {
            Response::DeleteRange(response) => Ok(response),
            other => panic!("a deletion was answered with {other:?}"),
        }
    }

    fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, Error> {
        match self.apply(&Command::Txn(request))? {
            Response::Txn(response) => Ok(response),
            other => panic!("a transaction was answered with {other:?}"),
        }
    }

    fn compact(&mut self, revision: i64, physical: bool) -> Result<CompactResponse, Error> {
        let revision = Revision(revision);
        match self.apply(&Command::Compact(CompactRequest { revision, physical }))? {
            Response::Compact(response) => {
                if physical {
                    collect_all(self);
                }
                Ok(response)
            }
            other => panic!("a compaction was answered with {other:?}"),
        }
    }

    fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        match self.query(&Query::Range(request))? {
            Response::Range(response) => Ok(response),
            other => panic!("a read was answered with {other:?}"),
        }
    }
}

pub(crate) fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("the tests write text")
}

/// A store after puts of `key=value`, the first of them at revision 2.
pub(crate) fn store_with(puts: &[&str]) -> Store {
    let mut store = Store::in_memory();
    for each in puts {
        let (key, value) = each.split_once('=').expect("a put is key=value");
        store.put(put(key, value)).expect("a plain put is refused");
    }
    store
}

/// Removes all garbage, as a shard does before it answers a physical compaction.
pub(crate) fn collect_all(store: &mut Store) {
    while store.collect_garbage(3).expect("nothing is damaged") {}
}

/// All that a store holds, whatever of it can be read: equal if and only if the stores are.
pub(crate) fn everything(store: &mut Store) -> Vec<Bytes> {
    let mut reader = store.snapshot(1 << 20).expect("nothing is damaged");
    std::iter::from_fn(|| reader.read().expect("nothing is damaged")).collect()
}
