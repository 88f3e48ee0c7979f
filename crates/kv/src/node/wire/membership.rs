//! How a membership looks on the wire.

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{Member, Membership, Standing};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireMembership {
    #[prost(message, repeated, tag = "1")]
    members: Vec<WireMember>,
    #[prost(message, repeated, tag = "2")]
    outgoing: Vec<WireMember>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireMember {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(bool, tag = "2")]
    is_learner: bool,
    #[prost(uint64, tag = "3")]
    life: u64,
    #[prost(bytes = "bytes", tag = "4")]
    context: Bytes,
    /// A learner of another kind.
    #[prost(bool, tag = "5")]
    is_recovering: bool,
}

impl From<&Membership> for WireMembership {
    fn from(membership: &Membership) -> Self {
        let all = |members: &std::collections::BTreeMap<NodeId, Member>| {
            members
                .iter()
                .map(|(node, member)| WireMember {
                    node: node.0,
                    is_learner: member.standing != Standing::Voter,
                    is_recovering: member.standing == Standing::Recovering,
                    life: member.life,
                    context: member.context.clone(),
                })
                .collect()
        };
        WireMembership { members: all(&membership.members), outgoing: all(&membership.outgoing) }
    }
}

impl From<WireMembership> for Membership {
    fn from(membership: WireMembership) -> Self {
        let all = |members: Vec<WireMember>| {
            members
                .into_iter()
                .map(|member| {
                    let WireMember { node, is_learner, life, context, is_recovering } = member;
                    let standing = match (is_learner, is_recovering) {
                        (_, true) => Standing::Recovering,
                        (true, false) => Standing::Learner,
                        (false, false) => Standing::Voter,
                    };
                    // A context is kept for as long as the membership, and must not keep a whole message with it.
                    let context = Bytes::copy_from_slice(&context);
                    (NodeId(node), Member { standing, life, context })
                })
                .collect()
        };
        Membership { members: all(membership.members), outgoing: all(membership.outgoing) }
    }
}
