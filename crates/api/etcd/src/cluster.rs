//! The Cluster and Maintenance services, as far as they are there.

use quorate_core::NodeId;
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::Revision;

use crate::error::Error;
use crate::face::{ETCD_VERSION, Face, Member};
use crate::proto::etcdserverpb::{self as wire, alarm_request::AlarmAction};

impl Face {
    pub(crate) async fn member_list(
        &self,
        _: wire::MemberListRequest,
    ) -> Result<wire::MemberListResponse, Error> {
        let status = self.status().await?;
        Ok(wire::MemberListResponse {
            // etcd leaves the revision out: membership is not part of the store.
            header: self.header(Revision(0), status.term),
            members: self.config.members.iter().map(member).collect(),
        })
    }

    pub(crate) async fn alarm(
        &self,
        request: wire::AlarmRequest,
    ) -> Result<wire::AlarmResponse, Error> {
        if request.action != AlarmAction::Get as i32 {
            return Err(StoreError::Unsupported("raising and clearing alarms").into());
        }
        let status = self.status().await?;
        let header = self.header(status.revision, status.term);
        Ok(wire::AlarmResponse { header, alarms: Vec::new() })
    }

    pub(crate) async fn maintenance_status(
        &self,
        _: wire::StatusRequest,
    ) -> Result<wire::StatusResponse, Error> {
        let status = self.status().await?;
        let bytes = i64::try_from(status.bytes).unwrap_or(i64::MAX);
        let errors = match status.leader {
            Some(_) => Vec::new(),
            None => vec![StoreError::NoLeader.to_string()],
        };
        Ok(wire::StatusResponse {
            header: self.header(status.revision, status.term),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes,
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.commit_index,
            raft_term: status.term,
            raft_applied_index: status.applied_index,
            errors,
            db_size_in_use: bytes,
            is_learner: false,
            storage_version: ETCD_VERSION.to_owned(),
            db_size_quota: 0,
            downgrade_info: Some(wire::DowngradeInfo::default()),
        })
    }

    pub(crate) async fn move_leader(
        &self,
        request: wire::MoveLeaderRequest,
    ) -> Result<wire::MoveLeaderResponse, Error> {
        self.transfer_leadership(NodeId(request.target_id)).await?;
        let status = self.status().await?;
        Ok(wire::MoveLeaderResponse { header: self.header(status.revision, status.term) })
    }
}

fn member(member: &Member) -> wire::Member {
    wire::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: false,
    }
}
