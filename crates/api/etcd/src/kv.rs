//! The KV service: reads go to the node as queries, everything else as commands.

use quorate_kv::request::{Command, Operation, Query, Response, TxnRequest, TxnResponse};
use quorate_kv::service::NodeRequest;

use crate::convert;
use crate::error::Error;
use crate::face::{Face, Ranged};
use crate::grpc::{self, Payload};
use crate::proto::etcdserverpb as wire;

impl Face {
    /// The payload of the answer: whole if it is short, and else in pieces as they are read.
    pub(crate) async fn range(&self, request: wire::RangeRequest) -> Result<Payload, Error> {
        match self.read(convert::range_request(request)?).await? {
            Ranged::Answer { term, range } => {
                let header = self.header(range.revision, term);
                let answer = wire::RangeResponse { header, ..convert::range_response(range) };
                Ok(Payload::unary(grpc::frame(&answer)?))
            }
            Ranged::Long(read) => self.stream(read).await,
        }
    }

    pub(crate) async fn put(&self, request: wire::PutRequest) -> Result<wire::PutResponse, Error> {
        match self.command(Command::Put(convert::put_request(request))).await? {
            (term, Response::Put(put)) => {
                let header = self.header(put.revision, term);
                Ok(wire::PutResponse { header, ..convert::put_response(put) })
            }
            (_, other) => unreachable!("the node answered a write with {other:?}"),
        }
    }

    pub(crate) async fn delete_range(
        &self,
        request: wire::DeleteRangeRequest,
    ) -> Result<wire::DeleteRangeResponse, Error> {
        let command = Command::DeleteRange(convert::delete_range_request(request));
        match self.command(command).await? {
            (term, Response::DeleteRange(delete)) => {
                let header = self.header(delete.revision, term);
                let delete = convert::delete_range_response(delete);
                Ok(wire::DeleteRangeResponse { header, ..delete })
            }
            (_, other) => unreachable!("the node answered a deletion with {other:?}"),
        }
    }

    pub(crate) async fn txn(&self, request: wire::TxnRequest) -> Result<wire::TxnResponse, Error> {
        let (header, txn) = self.carry_out(convert::txn_request(request)?).await?;
        Ok(wire::TxnResponse { header, ..convert::txn_response(txn) })
    }

    /// Carries a transaction out. Returns the answer, and the header for it.
    pub(crate) async fn carry_out(
        &self,
        request: TxnRequest,
    ) -> Result<(Option<wire::ResponseHeader>, TxnResponse), Error> {
        let answer = match reads_of(&request) {
            Reads::Writes => self.command(Command::Txn(request)).await?,
            Reads::Linearizable => self.query(Query::Txn(request), false).await?,
            Reads::Serializable => self.query(Query::Txn(request), true).await?,
        };
        match answer {
            (term, Response::Txn(txn)) => Ok((self.header(txn.revision, term), txn)),
            (_, other) => unreachable!("the node answered a transaction with {other:?}"),
        }
    }

    pub(crate) async fn compact(
        &self,
        request: wire::CompactionRequest,
    ) -> Result<wire::CompactionResponse, Error> {
        let command = Command::Compact(convert::compact_request(request));
        match self.command(command).await? {
            (term, Response::Compact(compact)) => {
                Ok(wire::CompactionResponse { header: self.header(compact.revision, term) })
            }
            (_, other) => unreachable!("the node answered a compaction with {other:?}"),
        }
    }

    pub(crate) async fn query(
        &self,
        query: Query,
        serializable: bool,
    ) -> Result<(u64, Response), Error> {
        self.ask(NodeRequest::Query { group: self.config.group, query, serializable }).await
    }

    pub(crate) async fn command(&self, command: Command) -> Result<(u64, Response), Error> {
        let proposal = self.counters.proposal();
        let answer = self.ask(NodeRequest::Command { group: self.config.group, command }).await;
        if let Err(error) = &answer {
            proposal.count_failure(error);
        }
        answer
    }
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// It may write.
    Writes,
    /// It only reads, and wants to see what was written before it.
    Linearizable,
    /// It only reads, and every read of it is content with this replica as it stands.
    Serializable,
}

/// A transaction that only reads needs no place in the log, whichever block it takes.
fn reads_of(txn: &TxnRequest) -> Reads {
    let mut operations = txn.success.iter().chain(&txn.failure).map(|operation| match operation {
        Operation::Range(range) if range.serializable => Reads::Serializable,
        Operation::Range(_) => Reads::Linearizable,
        Operation::Txn(txn) => reads_of(txn),
        Operation::Put(_) | Operation::DeleteRange(_) => Reads::Writes,
    });
    // Nobody has said of a transaction without operations that its conditions may be judged on old data.
    let first = operations.next().unwrap_or(Reads::Linearizable);
    operations.fold(first, |so_far, next| match (so_far, next) {
        (Reads::Writes, _) | (_, Reads::Writes) => Reads::Writes,
        (Reads::Linearizable, _) | (_, Reads::Linearizable) => Reads::Linearizable,
        (Reads::Serializable, Reads::Serializable) => Reads::Serializable,
    })
}

#[cfg(test)]
mod tests {
    use quorate_kv::request::{KeyRange, RangeEnd};

    use super::*;

    fn read(serializable: bool) -> Operation {
        let range = wire::RangeRequest { key: "k".into(), serializable, ..Default::default() };
        Operation::Range(convert::range_request(range).expect("the request is in order"))
    }

    fn delete() -> Operation {
        let range = KeyRange { start: "k".into(), end: RangeEnd::Single };
        Operation::DeleteRange(quorate_kv::request::DeleteRangeRequest { range, prev_kv: false })
    }

    fn txn(success: Vec<Operation>, failure: Vec<Operation>) -> TxnRequest {
        TxnRequest { compare: Vec::new(), success, failure }
    }

    #[test]
    fn a_transaction_is_as_strict_as_its_strictest_operation() {
        assert_eq!(reads_of(&txn(vec![read(true)], vec![read(true)])), Reads::Serializable);
        assert_eq!(reads_of(&txn(vec![read(true)], vec![read(false)])), Reads::Linearizable);
        assert_eq!(reads_of(&txn(vec![read(true)], vec![delete()])), Reads::Writes);
    }

    #[test]
    fn a_write_in_an_inner_transaction_makes_the_outer_one_write() {
        let inner = Operation::Txn(txn(vec![], vec![delete()]));
        assert_eq!(reads_of(&txn(vec![read(true), inner], vec![])), Reads::Writes);
    }

    #[test]
    fn a_transaction_of_conditions_alone_is_linearizable() {
        assert_eq!(reads_of(&txn(vec![], vec![])), Reads::Linearizable);
    }
}
