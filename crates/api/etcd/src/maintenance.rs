//! The Maintenance service: how a node is doing, and its upkeep.

use std::time::Duration;

use quorate_core::NodeId;
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::Revision;
use quorate_kv::service::{Alarm, Member, MemberChange};

use crate::error::Error;
use crate::face::{ETCD_VERSION, Face};
use crate::method::OpenTo;
use crate::proto::etcdserverpb::{
    self as wire, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
};

/// How long a member may take to take over.
const TRANSFERRED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Face {
    pub(crate) async fn alarm(
        &self,
        request: wire::AlarmRequest,
    ) -> Result<wire::AlarmResponse, Error> {
        let action = AlarmAction::try_from(request.action)
            .map_err(|_| StoreError::Unsupported("an unknown action on alarms"))?;
        if action != AlarmAction::Get {
            self.admit(OpenTo::Root).await?;
        }
        let before = self.members(true).await?.members;
        // Of no alarm, or of one that etcd has not, there is none.
        let named = Alarm::from_number(request.alarm).filter(|alarm| *alarm != Alarm::DiskFull);
        let of_member = |alarm: &wire::AlarmMember| alarm.member_id == request.member_id;
        let of_kind = |alarm: &wire::AlarmMember| named.is_none_or(|of| alarm.alarm == of.number());
        let raised = alarms(&before).into_iter().filter(of_kind);
        let alarms = match (action, named) {
            (AlarmAction::Get, _) => raised.collect(),
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => Vec::new(),
            (AlarmAction::Activate, Some(alarm)) => {
                self.set_alarm(request.member_id, alarm, true).await?;
                vec![wire::AlarmMember { member_id: request.member_id, alarm: alarm.number() }]
            }
            (AlarmAction::Deactivate, Some(alarm)) => {
                let raised: Vec<_> = raised.filter(of_member).collect();
                if !raised.is_empty() {
                    self.set_alarm(request.member_id, alarm, false).await?;
                    if alarm == Alarm::NoSpace {
                        self.set_alarm(request.member_id, Alarm::DiskFull, false).await?;
                    }
                }
                raised
            }
        };
        let status = self.status().await?;
        Ok(wire::AlarmResponse { header: self.header(status.revision, status.term), alarms })
    }

    async fn set_alarm(&self, member: u64, alarm: Alarm, is_raised: bool) -> Result<(), Error> {
        let change = MemberChange::SetAlarm { node: NodeId(member), alarm, is_raised };
        self.change_members(change).await?;
        // It is the leader that has answered. This node, whom the client asks next, may not have heard of it yet. Should it
        // not find out now, the alarm is set nevertheless.
        let _ = self.members(true).await;
        Ok(())
    }

    pub(crate) async fn maintenance_status(
        &self,
        _: wire::StatusRequest,
    ) -> Result<wire::StatusResponse, Error> {
        let status = self.status().await?;
        let members = self.members(false).await?.members;
        let in_use = status.bytes.min(status.occupied_bytes);
        let as_wire = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push(StoreError::NoLeader.to_string());
        }
        errors.extend(alarms(&members).into_iter().map(|alarm| {
            let kind = wire::AlarmType::try_from(alarm.alarm).unwrap_or_default();
            format!("memberID:{} alarm:{} ", alarm.member_id, kind.as_str_name())
        }));
        Ok(wire::StatusResponse {
            header: self.header(status.revision, status.term),
            version: ETCD_VERSION.to_owned(),
            db_size: as_wire(status.occupied_bytes),
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.commit_index,
            raft_term: status.term,
            raft_applied_index: status.applied_index,
            errors,
            db_size_in_use: as_wire(in_use),
            is_learner: status.is_learner,
            storage_version: ETCD_VERSION.to_owned(),
            db_size_quota: as_wire(status.quota_bytes.unwrap_or(0)),
            downgrade_info: Some(wire::DowngradeInfo::default()),
        })
    }

    /// Nothing is left fragmented here: what is superseded is dropped as the store goes along. etcd's answer is empty.
    pub(crate) async fn defragment(
        &self,
        _: wire::DefragmentRequest,
    ) -> Result<wire::DefragmentResponse, Error> {
        Ok(wire::DefragmentResponse { header: None })
    }

    pub(crate) async fn hash(&self, _: wire::HashRequest) -> Result<wire::HashResponse, Error> {
        let request = wire::HashKvRequest { revision: 0 };
        let wire::HashKvResponse { header, hash, .. } = self.hash_kv(request).await?;
        Ok(wire::HashResponse { header, hash })
    }

    /// The number itself is not etcd's, which hashes its own file format: two nodes of one cluster have the same.
    pub(crate) async fn hash_kv(
        &self,
        request: wire::HashKvRequest,
    ) -> Result<wire::HashKvResponse, Error> {
        let upto = (request.revision > 0).then_some(Revision(request.revision));
        let digest = self.digest(upto).await?;
        let (header, compacted) =
            (self.header(digest.revision, digest.term), digest.compact_revision);
        let upto = digest.upto;
        let computed = tokio::task::spawn_blocking(move || digest.compute()).await;
        let computed = computed.map_err(|_| StoreError::Stopped)?.map_err(StoreError::from)?;
        Ok(wire::HashKvResponse {
            header,
            hash: (computed >> 32) as u32,
            compact_revision: compacted.0,
            hash_revision: upto.0,
        })
    }

    pub(crate) async fn move_leader(
        &self,
        request: wire::MoveLeaderRequest,
    ) -> Result<wire::MoveLeaderResponse, Error> {
        let to = NodeId(request.target_id);
        self.transfer_leadership(to).await?;
        let moved = async {
            while self.status().await?.leader != Some(to) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let is_in_time = tokio::time::timeout(TRANSFERRED_WITHIN, moved).await;
        is_in_time.unwrap_or(Err(Error::LeaderTransferTimedOut))?;
        Ok(wire::MoveLeaderResponse { header: None })
    }

    /// There is no older version whose data this one's could become.
    pub(crate) async fn downgrade(
        &self,
        request: wire::DowngradeRequest,
    ) -> Result<wire::DowngradeResponse, Error> {
        Err(match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Cancel) => Error::NoDowngrade,
            Ok(_) if is_version(&request.version) => Error::BadDowngradeTarget,
            Ok(_) => Error::BadDowngradeVersion,
            Err(_) => Error::UnknownAction,
        })
    }
}

/// Whether this is three numbers with points between them, and perhaps a word behind.
fn is_version(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = numbers.split('.').map(str::parse::<u32>).collect();
    numbers.len() == 3 && numbers.iter().all(Result::is_ok)
}

/// Every alarm that is raised, as clients know it.
fn alarms(members: &[Member]) -> Vec<wire::AlarmMember> {
    let mut all = Vec::new();
    for member in members {
        for alarm in member.info.alarms() {
            let known = if alarm == Alarm::DiskFull { Alarm::NoSpace } else { alarm };
            let alarm = wire::AlarmMember { member_id: member.node.0, alarm: known.number() };
            if !all.contains(&alarm) {
                all.push(alarm);
            }
        }
    }
    all
}
