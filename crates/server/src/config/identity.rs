//! The ids of members and clusters, which every node computes alone.

use quorate_core::NodeId;

use super::{ClusterId, Config, ConfigError, HttpUrl, Member};

/// Ids below this one are for simulated nodes, which are numbered from one.
pub(super) const RESERVED_IDS: u64 = 1 << 16;

/// What a cluster begins with that does not begin with nothing.
///
/// Its ids are other ones than those of the cluster that the backup is of, and of every cluster that begins otherwise: a
/// node of one that meets a node of another is turned away. All nodes that are given the same backup and the same flags
/// compute the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The digest of the backup.
    pub backup: [u8; 32],
    /// By how much its revision is raised, and all below compacted, if so.
    pub raised_by: Option<u64>,
}

impl Beginning {
    /// The same cluster, but with this beginning: the ids are others.
    ///
    /// They are hashed as [`member_id`] is, from the parts `quorate restored member` or `quorate restored cluster`, the
    /// digest, what the revision is raised by as eight bytes with the largest first (or no byte, if it is not), and the
    /// id that the member or the cluster would have without a backup, as eight bytes as well.
    ///
    /// # Errors
    /// If two members happen to get the same id.
    pub fn of(&self, mut config: Config) -> Result<Config, ConfigError> {
        for member in &mut config.members {
            member.id = NodeId(self.id(b"quorate restored member", member.id.0));
        }
        config.members.sort_by_key(|member| member.id);
        if let Some([first, second]) =
            config.members.array_windows().find(|[first, second]| first.id == second.id)
        {
            return Err(ConfigError::DuplicateId {
                token: config.token,
                first: first.name.clone(),
                second: second.name.clone(),
            });
        }
        config.node = NodeId(self.id(b"quorate restored member", config.node.0));
        config.cluster = ClusterId(self.id(b"quorate restored cluster", config.cluster.0));
        Ok(config)
    }

    fn id(&self, kind: &[u8], without_backup: u64) -> u64 {
        let raised_by = self.raised_by.map(u64::to_be_bytes);
        let raised_by = raised_by.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let id = without_backup.to_be_bytes();
        out_of_reserved(fnv1a([kind, &self.backup, raised_by, &id]))
    }
}

/// The id of the member with this peer URL, in the cluster with this token.
///
/// It is the 64-bit FNV-1a hash of the parts `quorate member`, the token, and the URL as [`HttpUrl`] prints it, each
/// preceded by its length as four bytes, the largest first. A hash below 2^16 has its top bit set: small ids
/// are for simulated nodes.
pub fn member_id(token: &str, peer_url: &HttpUrl) -> NodeId {
    let url = peer_url.to_string();
    NodeId(out_of_reserved(fnv1a([b"quorate member", token.as_bytes(), url.as_bytes()])))
}

/// The id of the cluster with this token and these members: hashed as [`member_id`] is, from the parts
/// `quorate cluster`, the token, and each member's id in ascending order as eight bytes, the largest first.
pub fn cluster_id(token: &str, members: &[Member]) -> ClusterId {
    let mut ids: Vec<[u8; 8]> = members.iter().map(|member| member.id.0.to_be_bytes()).collect();
    ids.sort_unstable();
    let head: [&[u8]; 2] = [b"quorate cluster", token.as_bytes()];
    ClusterId(out_of_reserved(fnv1a(head.into_iter().chain(ids.iter().map(|id| id.as_slice())))))
}

/// FNV-1a, of 64 bits: short enough to be written down as a format, and as stable as arithmetic.
pub(super) fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let length = u32::try_from(part.len()).expect("a part of an id is shorter than 4 GiB");
        for byte in length.to_be_bytes().iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

pub(super) fn out_of_reserved(id: u64) -> u64 {
    if id < RESERVED_IDS { id | 1 << 63 } else { id }
}
