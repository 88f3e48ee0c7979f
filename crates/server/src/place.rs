//! A node's place: which node of which cluster it is, and what it knows of the others when it starts.
//!
//! A node that founds its cluster computes its place from the configuration, as all founders do. One that joins is told
//! by the members, and writes it down ([`quorate_storage::data_dir`]); from then on it asks nobody. So whether a node
//! joins is asked only if its data directory is empty. One that begins with a backup finds its place in its directory as
//! well: the backup was put there with it ([`crate::restore`]).
//!
//! A member whose directory was lost may join once more under its id: Raft notices that it has forgotten what it had
//! promised, and takes it in anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::NodeId;
use quorate_kv::node::members::MemberInfo;
use quorate_kv::service::Members;
use quorate_protocols::consensus::raft;
use quorate_storage::data_dir::{self, DataDirError, Origin};
use quorate_storage::vfs::Vfs;
use quorate_tls::Dialer;
use thiserror::Error;
use tracing::info;

use crate::config::{ClusterState, Config, HttpUrl};
use crate::enquiry::{self, Enquiry};

/// How long a node that is to join looks for a member that answers.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
const TRY_EVERY: Duration = Duration::from_millis(200);
/// How often it says what it is waiting for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Why a node could not join. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// Nobody else is named whom one could ask.
    #[error(
        "--initial-cluster-state existing: --initial-cluster names no other member; name at least one that runs, as in \
         --initial-cluster n1=http://10.0.0.1:2380,{name}={url}"
    )]
    NobodyToAsk {
        /// This node's name.
        name: String,
        /// Its peer URL.
        url: HttpUrl,
    },
    /// Nobody has answered.
    #[error(
        "no member of the cluster answered within {} s:{attempts}\nis the cluster running, and are these its peer URLs?",
        JOIN_WITHIN.as_secs()
    )]
    NobodyAnswers {
        /// One line each.
        attempts: String,
    },
    /// The members know of no such member.
    #[error(
        "the cluster has no member with the peer URL {url}; add it first: quorate member add {name} --peer-urls {url}"
    )]
    Unknown {
        /// This node's name.
        name: String,
        /// Its peer URL.
        url: HttpUrl,
    },
    /// They know of it, but under another URL.
    #[error(
        "the cluster knows {name} at {known}, not at {url}; start it with --initial-advertise-peer-urls {known}, or \
         change that: quorate member update {name} --peer-urls {url}"
    )]
    OtherUrl {
        /// This node's name.
        name: String,
        /// Its peer URL.
        url: HttpUrl,
        /// What the members know.
        known: String,
    },
    /// The URL is somebody else's.
    #[error(
        "the peer URL {url} is that of the member {owner}, not of {name}; give this node its own, or the name {owner}"
    )]
    OtherName {
        /// This node's name.
        name: String,
        /// Its peer URL.
        url: HttpUrl,
        /// Whose it is.
        owner: String,
    },
    /// The list of members names one that is none.
    #[error(
        "--initial-cluster has {listed}, which is no member; the members are {members}; give these"
    )]
    NotAMember {
        /// As it was written.
        listed: String,
        /// As it should be.
        members: String,
    },
}

/// Which node of which cluster this is, and what it knows of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) identity: data_dir::Identity,
    /// The membership before any entry of the log; that of a node that was not there at the beginning is empty.
    pub(crate) bootstrap: Arc<raft::Membership>,
    /// Where others may be found until the log says so.
    pub(crate) addresses: BTreeMap<NodeId, Vec<String>>,
}

impl Place {
    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.identity.node_id)
    }

    /// The place of a node that was there when its cluster began.
    fn founded(config: &Config) -> Self {
        let address = |member: &crate::config::Member| vec![member.peer_url.address()];
        Place {
            identity: data_dir::Identity {
                cluster_id: config.cluster.0,
                node_id: config.node.0,
                origin: Origin::Founded,
            },
            bootstrap: founders(config).into(),
            addresses: config.members.iter().map(|member| (member.id, address(member))).collect(),
        }
    }

    /// The place of a node whose directory says what it is.
    fn kept(identity: data_dir::Identity) -> Self {
        Place { identity, bootstrap: Arc::default(), addresses: BTreeMap::new() }
    }
}

/// Who takes part in a cluster at its beginning.
pub(crate) fn founders(config: &Config) -> raft::Membership {
    let members = config.members.iter().map(|member| {
        let info = MemberInfo {
            name: member.name.clone(),
            peer_urls: vec![member.peer_url.to_string()],
            ..Default::default()
        };
        let standing = raft::Standing::Voter;
        let context = info.encode_to_bytes();
        (member.id, raft::Member { standing, life: 0, context })
    });
    raft::Membership { members: members.collect(), outgoing: BTreeMap::new() }
}

/// Finds a node's place: in its directory, in the configuration, or by asking the members.
pub(crate) async fn find(
    config: &Config,
    dialer: Option<&Dialer>,
    vfs: &impl Vfs,
) -> Result<Place, FindError> {
    let kept = data_dir::identity_at(vfs, &config.data_dir)?;
    match (kept, config.cluster_state) {
        (Some(identity), _) if identity.origin != Origin::Founded => Ok(Place::kept(identity)),
        (Some(_), _) | (None, ClusterState::New) => Ok(Place::founded(config)),
        (None, ClusterState::Existing) => Ok(join(config, dialer).await?),
    }
}

/// Why no place was found.
#[derive(Debug, Error)]
pub(crate) enum FindError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Join(#[from] JoinError),
}

async fn join(config: &Config, dialer: Option<&Dialer>) -> Result<Place, JoinError> {
    let others: Vec<_> = config.members.iter().filter(|member| member.id != config.node).collect();
    if others.is_empty() {
        let (name, url) = (config.name.clone(), config.peer_url.clone());
        return Err(JoinError::NobodyToAsk { name, url });
    }
    let began = Instant::now();
    let mut said_at = began;
    loop {
        let mut attempts = String::new();
        for other in &others {
            match enquiry::ask(&other.peer_url.address(), dialer, None, &Enquiry::Roll).await {
                Ok((cluster, roll)) => return place_in(config, cluster, &roll),
                Err(failure) => {
                    attempts
                        .push_str(&format!("\n  {} at {}: {failure}", other.name, other.peer_url));
                }
            }
        }
        if began.elapsed() >= JOIN_WITHIN {
            return Err(JoinError::NobodyAnswers { attempts });
        }
        if said_at.elapsed() >= SAY_EVERY {
            said_at = Instant::now();
            info!("no member of the cluster answers yet:{attempts}");
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

/// This node's place among the members, by its peer URL.
fn place_in(config: &Config, cluster: u64, roll: &Members) -> Result<Place, JoinError> {
    let (name, url) = (config.name.clone(), config.peer_url.clone());
    let at = |url: &HttpUrl| {
        let url = url.to_string();
        roll.members.iter().find(move |member| member.info.peer_urls.contains(&url))
    };
    let Some(own) = at(&url) else {
        let namesake = roll.members.iter().find(|member| member.info.name == name);
        return Err(match namesake {
            Some(member) => {
                let known = member.info.peer_urls.join(",");
                JoinError::OtherUrl { name, url, known }
            }
            None => JoinError::Unknown { name, url },
        });
    };
    if !own.info.name.is_empty() && own.info.name != name {
        let owner = own.info.name.clone();
        return Err(JoinError::OtherName { name, url, owner });
    }
    if let Some(stranger) = config.members.iter().find(|member| at(&member.peer_url).is_none()) {
        let members = roll.members.iter().flat_map(|member| {
            let own = member.node == own.node;
            let name = if own { &config.name } else { &member.info.name };
            member.info.peer_urls.iter().map(move |url| format!("{name}={url}"))
        });
        return Err(JoinError::NotAMember {
            listed: format!("{}={}", stranger.name, stranger.peer_url),
            members: members.collect::<Vec<_>>().join(","),
        });
    }
    let addresses = roll.members.iter().map(|member| (member.node, authorities(&member.info)));
    Ok(Place {
        identity: data_dir::Identity {
            cluster_id: cluster,
            node_id: own.node.0,
            origin: Origin::Joined,
        },
        bootstrap: Arc::default(),
        addresses: addresses.collect(),
    })
}

/// Where a member's peers reach it, as `host:port`.
fn authorities(info: &MemberInfo) -> Vec<String> {
    let urls = info.peer_urls.iter().filter_map(|url| url.parse::<HttpUrl>().ok());
    urls.map(|url| url.address()).collect()
}
