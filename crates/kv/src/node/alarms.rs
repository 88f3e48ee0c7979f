//! What a replica refuses while an alarm is raised, by the rules of etcd.
//!
//! A member that is [corrupt](Alarm::Corrupt) holds other data than the rest, and nobody can say from inside which are right:
//! so all refuse whatever would change any, until a person has looked into it and clears the alarm. A member that is
//! [over its quota](Alarm::NoSpace) has the others refuse what takes room, too; what makes room is let through. A full
//! disk is the affair of its own node alone ([`Alarm::DiskFull`]): the others have room, and it catches up later.
//!
//! It is decided where a request comes in, by the alarms that all have agreed on as far as this node knows. One that was
//! let in before is carried out.

use quorate_protocols::consensus::raft::Membership;

use super::members::MemberInfo;
use crate::error::Error;
use crate::request::{Command, Operation, TxnRequest};
use crate::service::Alarm;

/// The alarms of all members that concern every one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alarms {
    is_corrupt: bool,
    is_out_of_space: bool,
}

impl Alarms {
    /// Those that are raised among these members.
    pub(super) fn of(membership: &Membership) -> Self {
        let mut alarms = Alarms::default();
        for member in membership.members.values() {
            for alarm in MemberInfo::decode_or_default(&member.context).alarms() {
                match alarm {
                    Alarm::Corrupt => alarms.is_corrupt = true,
                    Alarm::NoSpace => alarms.is_out_of_space = true,
                    Alarm::DiskFull => {}
                }
            }
        }
        alarms
    }

    /// Whether nothing may change.
    pub(super) fn is_corrupt(self) -> bool {
        self.is_corrupt
    }

    /// Why a command is refused, if it is. `has_no_room` says whether this node has none.
    pub(super) fn objection(self, command: &Command, has_no_room: bool) -> Option<Error> {
        if self.is_corrupt && is_change(command) {
            return Some(Error::Corrupt);
        }
        let has_no_room = has_no_room || self.is_out_of_space;
        (has_no_room && takes_room(command)).then_some(Error::NoSpace)
    }
}

/// What etcd refuses in a corrupt cluster.
fn is_change(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact(_)
        | Command::LeaseGrant(_)
        | Command::LeaseRevoke(_) => true,
        Command::LeaseRenew(_) | Command::Tick(_) | Command::Auth(_) => false,
    }
}

/// Whether a command takes room, or may.
fn takes_room(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => has_put(txn),
        Command::DeleteRange(_)
        | Command::Compact(_)
        | Command::LeaseRevoke(_)
        | Command::LeaseRenew(_)
        | Command::Tick(_)
        | Command::Auth(_) => false,
    }
}

/// Whether a transaction writes a key in either of its blocks. One that only deletes is let through.
fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match operation {
        Operation::Put(_) => true,
        Operation::Txn(txn) => has_put(txn),
        Operation::Range(_) | Operation::DeleteRange(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{
        CompactRequest, DeleteRangeRequest, KeyRange, LeaseGrantRequest, LeaseId, PutRequest,
        RangeEnd, Revision,
    };

    const QUIET: Alarms = Alarms { is_corrupt: false, is_out_of_space: false };
    const CORRUPT: Alarms = Alarms { is_corrupt: true, ..QUIET };
    const OUT_OF_SPACE: Alarms = Alarms { is_out_of_space: true, ..QUIET };

    fn put() -> PutRequest {
        PutRequest {
            key: "k".into(),
            value: "v".into(),
            lease: LeaseId(0),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }

    fn delete() -> DeleteRangeRequest {
        let range = KeyRange { start: "k".into(), end: RangeEnd::Single };
        DeleteRangeRequest { range, prev_kv: false }
    }

    fn txn(operation: Operation) -> TxnRequest {
        TxnRequest { compare: vec![], success: vec![], failure: vec![operation] }
    }

    #[test]
    fn without_space_what_takes_room_is_refused_and_what_makes_room_goes_on() {
        let nested = Operation::Txn(txn(Operation::Put(put())));
        let grant = LeaseGrantRequest { id: LeaseId(1), ttl_seconds: 5 };
        let takes = [Command::Put(put()), Command::Txn(txn(nested)), Command::LeaseGrant(grant)];
        let compact = CompactRequest { revision: Revision(3), physical: false };
        let makes = [
            Command::DeleteRange(delete()),
            Command::Txn(txn(Operation::DeleteRange(delete()))),
            Command::Compact(compact),
            Command::LeaseRevoke(LeaseId(1)),
            Command::LeaseRenew(LeaseId(1)),
        ];
        for command in takes {
            assert_eq!(
                OUT_OF_SPACE.objection(&command, false),
                Some(Error::NoSpace),
                "{command:?}"
            );
            assert_eq!(QUIET.objection(&command, true), Some(Error::NoSpace), "{command:?}");
            assert_eq!(QUIET.objection(&command, false), None, "{command:?}");
        }
        for command in makes {
            assert_eq!(OUT_OF_SPACE.objection(&command, true), None, "{command:?}");
        }
    }

    #[test]
    fn in_a_corrupt_cluster_nothing_changes_and_leases_are_renewed() {
        let compact = CompactRequest { revision: Revision(3), physical: false };
        let changes = [
            Command::Put(put()),
            Command::DeleteRange(delete()),
            Command::Txn(txn(Operation::DeleteRange(delete()))),
            Command::Compact(compact),
            Command::LeaseGrant(LeaseGrantRequest { id: LeaseId(1), ttl_seconds: 5 }),
            Command::LeaseRevoke(LeaseId(1)),
        ];
        for command in changes {
            // etcd says this of the two, where both alarms are raised.
            assert_eq!(CORRUPT.objection(&command, true), Some(Error::Corrupt), "{command:?}");
        }
        assert_eq!(CORRUPT.objection(&Command::LeaseRenew(LeaseId(1)), false), None);
    }
}
