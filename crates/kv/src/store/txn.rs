//! Transactions: conditions, then one of two blocks of operations, at one revision or not at all.
//!
//! As in etcd, everything is decided before anything is written. Planning evaluates the conditions, those of nested
//! transactions too, against the store as it was before the transaction, and refuses the transaction if an operation
//! of a chosen block could not be carried out. Carrying out a plan cannot fail but for an engine that cannot be read.
//! Reads in it see the writes before them; conditions do not.

use std::cmp::Ordering;

use quorate_engine::{Engine, EngineError};

use super::Store;
use super::version::Version;
use super::write::Step;
use crate::error::Error;
use crate::request::{
    Compare, CompareTarget, Operation, RangeEnd, RangeRequest, Relation, Response, Revision,
    TxnRequest, TxnResponse,
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

impl<E: Engine> Store<E> {
    /// Carries out a transaction that may write.
    pub(super) fn carry_out_txn(
        &mut self,
        request: &TxnRequest,
        step: &mut Step,
    ) -> Result<TxnResponse, Error> {
        let plan = self.plan(request)?;
        let mut response = self.carry_out_plan(&plan, step)?;
        response.revision = step.now();
        Ok(response)
    }

    /// Carries out a transaction that must not write.
    pub(super) fn read_only_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let plan = self.plan(request)?;
        let mut response = self.read_plan(&plan)?;
        response.revision = self.meta.revision;
        Ok(response)
    }

    fn plan<'a>(&self, request: &'a TxnRequest) -> Result<Plan<'a>, Error> {
        let mut succeeded = true;
        for compare in &request.compare {
            succeeded = succeeded && self.holds(compare)?;
        }
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
            Some(revision) if revision > self.meta.revision => Err(Error::FutureRevision),
            // Unlike a read alone, etcd refuses a negative revision here.
            Some(revision) if revision < self.meta.compacted => Err(Error::Compacted),
            Some(_) => Ok(()),
        }
    }

    fn carry_out_plan(
        &mut self,
        plan: &Plan<'_>,
        step: &mut Step,
    ) -> Result<TxnResponse, EngineError> {
        let mut nested = plan.nested.iter();
        let responses = plan
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Range(range) => self.range_as_of(range, step.now()).map(Response::Range),
                Operation::Put(put) => self.put(put, step).map(Response::Put),
                Operation::DeleteRange(delete) => {
                    self.delete_range(delete, step).map(Response::DeleteRange)
                }
                Operation::Txn(_) => {
                    let plan = nested.next().expect("a nested transaction was not planned");
                    self.carry_out_plan(plan, step).map(Response::Txn)
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(TxnResponse { revision: NESTED_REVISION, succeeded: plan.succeeded, responses })
    }

    fn read_plan(&self, plan: &Plan<'_>) -> Result<TxnResponse, Error> {
        let mut nested = plan.nested.iter();
        let responses = plan
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Range(range) => {
                    Ok(Response::Range(self.range_as_of(range, self.meta.revision)?))
                }
                Operation::Txn(_) => {
                    let plan = nested.next().expect("a nested transaction was not planned");
                    self.read_plan(plan).map(Response::Txn)
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
    fn holds(&self, compare: &Compare) -> Result<bool, EngineError> {
        if compare.range.end == RangeEnd::Single {
            let version = self.map().live(&compare.range.start)?;
            return Ok(is_related(compare, version.as_ref()));
        }
        let mut is_empty = true;
        for found in self.map().visible_now(&compare.range) {
            is_empty = false;
            if !is_related(compare, Some(&Version::decode(found?.1)?)) {
                return Ok(false);
            }
        }
        Ok(!is_empty || is_related(compare, None))
    }
}

fn is_related(compare: &Compare, version: Option<&Version>) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(expected) => version.map_or(0, |v| v.version).cmp(expected),
        CompareTarget::CreateRevision(expected) => {
            version.map(|v| v.create_revision).unwrap_or_default().cmp(expected)
        }
        CompareTarget::ModRevision(expected) => {
            version.map(|v| v.place.revision).unwrap_or_default().cmp(expected)
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
