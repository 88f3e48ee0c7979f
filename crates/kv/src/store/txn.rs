//! Transactions: conditions, then one of two blocks of operations, at one revision or not at all.
//!
//! As in etcd, everything is decided before anything is written. Planning evaluates the conditions, those of nested
//! transactions too, against the store as it was before the transaction, and refuses the transaction if an operation
//! of a chosen block could not be carried out. Carrying out a plan cannot fail. Reads in it see the writes before
//! them; conditions do not.

use std::cmp::Ordering;

use super::Store;
use super::history::Version;
use super::write::Step;
use crate::error::Error;
use crate::request::{
    Compare, CompareTarget, Operation, RangeRequest, Relation, Response, Revision, TxnRequest,
    TxnResponse,
};

/// What a nested transaction answers as its revision: etcd fills in that of the outermost one alone.
const NESTED_REVISION: Revision = Revision(0);

/// The blocks that a transaction's conditions have chosen.
struct Plan<'a> {
    succeeded: bool,
    operations: &'a [Operation],
    /// One for each transaction among the operations, in order.
    nested: Vec<Plan<'a>>,
}

impl Store {
    /// Carries out a transaction that may write.
    pub(super) fn txn(
        &mut self,
        request: &TxnRequest,
        step: &mut Step,
    ) -> Result<TxnResponse, Error> {
        let plan = self.plan(request)?;
        let mut response = self.carry_out(&plan, step);
        response.revision = step.now();
        Ok(response)
    }

    /// Carries out a transaction that must not write.
    pub(super) fn read_only_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let plan = self.plan(request)?;
        let mut response = self.read(&plan)?;
        response.revision = self.revision;
        Ok(response)
    }

    fn plan<'a>(&self, request: &'a TxnRequest) -> Result<Plan<'a>, Error> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { &request.success } else { &request.failure };
        let mut nested = Vec::new();
        for operation in operations {
            match operation {
                Operation::Range(range) => self.check_revision(range)?,
                Operation::Put(put) => {
                    // The order in which etcd checks a put of a transaction, which is not that of a put alone.
                    self.check_kept(put)?;
                    self.check_lease(put)?;
                }
                Operation::DeleteRange(_) => {}
                Operation::Txn(txn) => nested.push(self.plan(txn)?),
            }
        }
        Ok(Plan { succeeded, operations, nested })
    }

    /// Refuses a read at a revision that was not readable before the transaction, the transaction's own included.
    fn check_revision(&self, request: &RangeRequest) -> Result<(), Error> {
        match request.revision {
            None | Some(Revision(0)) => Ok(()),
            Some(revision) if revision > self.revision => Err(Error::FutureRevision),
            // Unlike a read alone, etcd refuses a negative revision here.
            Some(revision) if revision < self.compacted => Err(Error::Compacted),
            Some(_) => Ok(()),
        }
    }

    fn carry_out(&mut self, plan: &Plan<'_>, step: &mut Step) -> TxnResponse {
        let mut nested = plan.nested.iter();
        let responses = plan
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Range(range) => Response::Range(self.range_as_of(range, step.now())),
                Operation::Put(put) => Response::Put(self.put(put, step)),
                Operation::DeleteRange(delete) => {
                    Response::DeleteRange(self.delete_range(delete, step))
                }
                Operation::Txn(_) => {
                    let plan = nested.next().expect("a nested transaction was not planned");
                    Response::Txn(self.carry_out(plan, step))
                }
            })
            .collect();
        TxnResponse { revision: NESTED_REVISION, succeeded: plan.succeeded, responses }
    }

    fn read(&self, plan: &Plan<'_>) -> Result<TxnResponse, Error> {
        let mut nested = plan.nested.iter();
        let responses = plan
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Range(range) => {
                    Ok(Response::Range(self.range_as_of(range, self.revision)))
                }
                Operation::Txn(_) => {
                    let plan = nested.next().expect("a nested transaction was not planned");
                    self.read(plan).map(Response::Txn)
                }
                Operation::Put(_) | Operation::DeleteRange(_) => {
                    Err(Error::Unsupported("a transaction that writes must go through the log"))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(TxnResponse { revision: NESTED_REVISION, succeeded: plan.succeeded, responses })
    }

    /// Whether a condition holds for every key of its range. A range without keys is compared as one key that is not
    /// there, all of whose numbers are 0 and whose value compares with nothing.
    fn holds(&self, compare: &Compare) -> bool {
        let mut visible = self.visible(&compare.range, self.revision).peekable();
        if visible.peek().is_none() {
            return is_related(compare, None);
        }
        visible.all(|(_, version)| is_related(compare, Some(version)))
    }
}

fn is_related(compare: &Compare, version: Option<&Version>) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(expected) => version.map_or(0, |v| v.version).cmp(expected),
        CompareTarget::CreateRevision(expected) => {
            version.map(|v| v.create_revision).unwrap_or_default().cmp(expected)
        }
        CompareTarget::ModRevision(expected) => {
            version.map(|v| v.mod_revision).unwrap_or_default().cmp(expected)
        }
        CompareTarget::Lease(expected) => {
            version.map(|v| v.lease).unwrap_or_default().cmp(expected)
        }
        CompareTarget::Value(expected) => {
            let Some(value) = version.and_then(|v| v.value.as_ref()) else { return false };
            value.cmp(expected)
        }
    };
    match compare.relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::NotEqual => ordering != Ordering::Equal,
        Relation::Greater => ordering == Ordering::Greater,
        Relation::Less => ordering == Ordering::Less,
    }
}
