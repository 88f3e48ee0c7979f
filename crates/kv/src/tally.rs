//! What a replica has done since its node started, for whoever counts. It is no part of the store's state.

use crate::request::Response;

/// How often each was done by this replica: writes on every replica alike, reads where they were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Puts, those in transactions included.
    pub puts: u64,
    /// Reads of a range, those in transactions included; not those that only judge a condition.
    pub ranges: u64,
    /// Deletions of a range, those in transactions included, and keys that went with their lease.
    pub deletes: u64,
    /// Requests that were more than one of these at a time.
    pub txns: u64,
    /// Leases that were granted.
    pub leases_granted: u64,
    /// Leases that were revoked, or came to their end.
    pub leases_revoked: u64,
    /// Leases that were renewed.
    pub leases_renewed: u64,
}

impl Tally {
    /// Something was done, with this answer; and so many keys went with it if a lease did.
    pub(crate) fn count(&mut self, done: &Response, keys_gone: usize) {
        let before = self.operations();
        match done {
            Response::LeaseGrant(_) => self.leases_granted += 1,
            Response::LeaseRenew(_) => self.leases_renewed += 1,
            Response::LeaseRevoke(_) => {
                self.leases_revoked += 1;
                self.deletes += keys_gone as u64;
            }
            other => self.count_operation(other),
        }
        self.txns += u64::from(self.operations() - before > 1);
    }

    /// A read was handed out, to be carried out elsewhere.
    pub(crate) fn count_long_read(&mut self) {
        self.ranges += 1;
    }

    fn operations(&self) -> u64 {
        self.puts + self.ranges + self.deletes
    }

    fn count_operation(&mut self, done: &Response) {
        match done {
            Response::Put(_) => self.puts += 1,
            Response::Range(_) => self.ranges += 1,
            Response::DeleteRange(_) => self.deletes += 1,
            Response::Txn(txn) => {
                for response in &txn.responses {
                    self.count_operation(response);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{LeaseRevokeResponse, PutResponse, RangeResponse, Revision, TxnResponse};

    const REVISION: Revision = Revision(7);

    fn put() -> Response {
        Response::Put(PutResponse { revision: REVISION, prev_kv: None })
    }

    fn txn(responses: Vec<Response>) -> Response {
        Response::Txn(TxnResponse { revision: REVISION, succeeded: true, responses })
    }

    fn counted(done: &Response, keys_gone: usize) -> Tally {
        let mut tally = Tally::default();
        tally.count(done, keys_gone);
        tally
    }

    #[test]
    fn what_is_in_a_transaction_counts_and_the_transaction_only_if_it_is_more_than_one_thing() {
        assert_eq!(counted(&put(), 0), Tally { puts: 1, ..Default::default() });
        assert_eq!(counted(&txn(vec![put()]), 0), Tally { puts: 1, ..Default::default() });
        let range = RangeResponse { revision: REVISION, kvs: vec![], more: false, count: 0 };
        let nested = txn(vec![put(), txn(vec![put(), Response::Range(range)])]);
        let expected = Tally { puts: 2, ranges: 1, txns: 1, ..Default::default() };
        assert_eq!(counted(&nested, 0), expected);
    }

    #[test]
    fn the_keys_that_go_with_a_lease_are_deletions() {
        let revoked = Response::LeaseRevoke(LeaseRevokeResponse { revision: REVISION });
        let expected = Tally { leases_revoked: 1, deletes: 3, txns: 1, ..Default::default() };
        assert_eq!(counted(&revoked, 3), expected);
    }
}
