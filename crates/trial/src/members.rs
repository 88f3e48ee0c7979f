//! Who takes part in a group, as it can be seen from outside.

use quorate_core::{GroupId, NodeId};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::{Membership, Raft};
use quorate_sim::Cluster;

/// The replica of a group on a node, unless the node is down.
pub(crate) fn raft<'a>(
    group: GroupId,
    node: NodeId,
    cluster: &Cluster<'a, Node>,
) -> Option<&'a Raft> {
    Some(cluster.state(node)?.shard(group)?.raft())
}

/// The replicas of a group on the nodes that are up.
pub(crate) fn rafts<'a>(group: GroupId, cluster: &Cluster<'a, Node>) -> Vec<(NodeId, &'a Raft)> {
    cluster.live().filter_map(|(id, node)| Some((id, node.shard(group)?.raft()))).collect()
}

/// The newest membership that anybody who is up knows to be committed; none if nobody is up who knows of any.
pub(crate) fn committed<'a>(group: GroupId, cluster: &Cluster<'a, Node>) -> Option<&'a Membership> {
    let replicas = cluster.live().filter_map(|(_, node)| Some(node.shard(group)?.raft()));
    let knowing = replicas.filter(|raft| !raft.committed_membership().members.is_empty());
    knowing.max_by_key(|raft| raft.commit()).map(|raft| &**raft.committed_membership())
}

/// Whether a node takes part in a group, as far as anybody who is up knows.
pub(crate) fn is_member(node: NodeId, group: GroupId, cluster: &Cluster<'_, Node>) -> bool {
    committed(group, cluster).is_some_and(|membership| membership.get(node).is_some())
}
