//! The Cluster service: who the members are, and changes of that.
//!
//! A member that is added with a vote is listed as a learner until it has caught up and votes; etcd counts it at once.

use std::hash::{BuildHasher, RandomState};

use quorate_core::NodeId;
use quorate_kv::request::Revision;
use quorate_kv::service::{Member, MemberChange, Members};

use crate::error::Error;
use crate::face::Face;
use crate::proto::etcdserverpb as wire;

/// Ids below this one are for simulated nodes, which are numbered from one.
const RESERVED_IDS: u64 = 1 << 16;

impl Face {
    pub(crate) async fn member_list(
        &self,
        request: wire::MemberListRequest,
    ) -> Result<wire::MemberListResponse, Error> {
        let members = self.members(request.linearizable).await?;
        let header = self.member_header(&members);
        Ok(wire::MemberListResponse { header, members: listed(members) })
    }

    pub(crate) async fn member_add(
        &self,
        request: wire::MemberAddRequest,
    ) -> Result<wire::MemberAddResponse, Error> {
        let wire::MemberAddRequest { peer_ur_ls: peer_urls, is_learner } = request;
        let node = draw_id(&peer_urls);
        let change = MemberChange::Add { node, peer_urls, is_learner };
        let members = self.change_members(change).await?;
        let header = self.member_header(&members);
        let members = listed(members);
        let member = members.iter().find(|member| member.id == node.0).cloned();
        Ok(wire::MemberAddResponse { header, member, members })
    }

    pub(crate) async fn member_remove(
        &self,
        request: wire::MemberRemoveRequest,
    ) -> Result<wire::MemberRemoveResponse, Error> {
        let change = MemberChange::Remove { node: NodeId(request.id) };
        let members = self.change_members(change).await?;
        let header = self.member_header(&members);
        Ok(wire::MemberRemoveResponse { header, members: listed(members) })
    }

    pub(crate) async fn member_update(
        &self,
        request: wire::MemberUpdateRequest,
    ) -> Result<wire::MemberUpdateResponse, Error> {
        let wire::MemberUpdateRequest { id, peer_ur_ls: peer_urls } = request;
        let change = MemberChange::Update { node: NodeId(id), peer_urls };
        let members = self.change_members(change).await?;
        let header = self.member_header(&members);
        Ok(wire::MemberUpdateResponse { header, members: listed(members) })
    }

    pub(crate) async fn member_promote(
        &self,
        request: wire::MemberPromoteRequest,
    ) -> Result<wire::MemberPromoteResponse, Error> {
        let change = MemberChange::Promote { node: NodeId(request.id) };
        let members = self.change_members(change).await?;
        let header = self.member_header(&members);
        Ok(wire::MemberPromoteResponse { header, members: listed(members) })
    }

    /// etcd leaves the revision out: membership is not part of the store.
    fn member_header(&self, members: &Members) -> Option<wire::ResponseHeader> {
        self.header(Revision(0), members.term)
    }
}

/// A number that no node ever had, as far as 64 random bits can promise: the system's hash seeds are random.
fn draw_id(peer_urls: &[String]) -> NodeId {
    let drawn = RandomState::new().hash_one(peer_urls);
    NodeId(if drawn < RESERVED_IDS { drawn | 1 << 63 } else { drawn })
}

fn listed(members: Members) -> Vec<wire::Member> {
    let listed =
        members.members.into_iter().map(|Member { node, is_learner, info }| wire::Member {
            id: node.0,
            name: info.name,
            peer_ur_ls: info.peer_urls,
            client_ur_ls: info.client_urls,
            is_learner,
        });
    listed.collect()
}
