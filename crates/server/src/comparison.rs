//! Every so often, whoever leads compares the members' data, and raises the alarm about whoever has other data.
//!
//! All replicas apply the same entries, and so can be read alike at one revision. If they can't, a bug, a disk or a hand
//! has changed one, and no client can tell which. So the leader asks each member for the [`Fingerprint`] of its data at one
//! revision that all of them have come to, and those that differ from the majority are called corrupt; from then on
//! nothing is changed until a person has looked into it (`kv/src/node/alarms.rs`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_core::NodeId;
use quorate_kv::error::Error;
use quorate_kv::request::Revision;
use quorate_kv::service::{Alarm, Member, MemberChange};
use tracing::{error, info, warn};

use crate::config::HttpUrl;
use crate::desk::Desk;
use crate::enquiry::{self, Failure};
use crate::fingerprint::Fingerprint;

/// How often a member is asked again that is not there yet.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a member may take to come to the leader's revision, and to read all its data.
const FINGERPRINT_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How long it may take to come to the revision alone: one that is further behind is compared the next time.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(10);

/// Whose data is not that of the others. Only fingerprints of the same compaction as the leader's are compared: a compaction
/// may have come between two of them, and then the next comparison tells.
///
/// Those are right who are more than half of the compared. If there are none such, nobody can say who is right, and the
/// leader is accused: it is its data that differs from some of the others', and the alarm has to be somebody's.
pub(crate) fn accused(leader: NodeId, found: &BTreeMap<NodeId, Fingerprint>) -> Vec<NodeId> {
    let Some(own) = found.get(&leader) else { return Vec::new() };
    let compared = || found.iter().filter(|(_, one)| one.compacted == own.compacted);
    let holders = |hash| compared().filter(|(_, one)| one.hash == hash).count();
    let right = compared().find(|(_, one)| holders(one.hash) * 2 > compared().count());
    match right {
        Some((_, right)) => {
            compared().filter(|(_, one)| one.hash != right.hash).map(|(node, _)| *node).collect()
        }
        None => vec![leader],
    }
}

/// Compares, again and again, while a node leads.
pub(crate) struct Comparison<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) me: NodeId,
    pub(crate) cluster: u64,
    pub(crate) every: Duration,
}

impl Comparison<'_> {
    /// Ends only when the node has stopped.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(self.every).await;
            let Ok(status) = self.desk.status().await else { return };
            if status.leader == Some(self.me) {
                self.compare(status.revision).await;
            }
        }
    }

    async fn compare(&self, upto: Revision) {
        let Ok(members) = self.desk.members(false).await else { return };
        let mut asked = tokio::task::JoinSet::new();
        for member in members.members {
            let (desk, me, cluster) = (self.desk.clone(), self.me, self.cluster);
            asked.spawn(async move {
                let node = member.node;
                (node, fingerprint(&desk, (node != me).then_some(&member), cluster, upto).await)
            });
        }
        let mut found = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((node, Ok(fingerprint))) => {
                    found.insert(node, fingerprint);
                }
                Ok((node, Err(why))) => {
                    info!(%node, why, "a member's data is not compared this time");
                }
                // A task that was cancelled: the node stops.
                Err(_) => return,
            }
        }
        let accused = accused(self.me, &found);
        if accused.is_empty() {
            info!(members = found.len(), revision = upto.0, "compared the members' data");
        }
        for node in accused {
            error!(
                %node, revision = upto.0, ?found,
                "a member's data is not that of the others; nothing is changed until the alarm is cleared"
            );
            let change = MemberChange::SetAlarm { node, alarm: Alarm::Corrupt, is_raised: true };
            if let Err(error) = self.desk.change(change).await {
                warn!(%node, %error, "could not raise the alarm; it is tried again after the next comparison");
            }
        }
    }
}

/// The fingerprint of this node, or of another member, once it is there; else why there is none.
async fn fingerprint(
    desk: &Desk,
    member: Option<&Member>,
    cluster: u64,
    upto: Revision,
) -> Result<Fingerprint, String> {
    let began = Instant::now();
    loop {
        let answer = match member {
            None => desk.fingerprint(upto).await,
            Some(member) => ask(desk, member, cluster, upto).await?,
        };
        let within = match answer {
            Ok(Some(fingerprint)) => return Ok(fingerprint),
            Ok(None) => FINGERPRINT_WITHIN,
            Err(Error::FutureRevision) => CAUGHT_UP_WITHIN,
            Err(error) => return Err(error.to_string()),
        };
        if began.elapsed() >= within {
            return Err("it takes too long".into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ask(
    desk: &Desk,
    member: &Member,
    cluster: u64,
    upto: Revision,
) -> Result<Result<Option<Fingerprint>, Error>, String> {
    let urls = member.info.peer_urls.iter();
    let addresses = urls.filter_map(|url| Some(url.parse::<HttpUrl>().ok()?.address()));
    let mut why = String::from("it is nowhere");
    for address in addresses {
        match enquiry::ask_fingerprint(&address, desk.dialer.as_ref(), cluster, upto).await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(Failure::Refused(error)) => return Ok(Err(error)),
            Err(failure) => why = failure.to_string(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = NodeId(1);

    /// Whom the leader accuses if the members, from the first on, have these: a compaction and a hash.
    fn accused_of(found: &[(i64, u64)]) -> Vec<u64> {
        let found = (1..).zip(found).map(|(node, (compacted, hash))| {
            (NodeId(node), Fingerprint { compacted: Revision(*compacted), hash: *hash })
        });
        accused(LEADER, &found.collect()).into_iter().map(|node| node.0).collect()
    }

    #[test]
    fn nobody_is_accused_where_all_are_alike() {
        assert_eq!(accused_of(&[]), [0; 0]);
        assert_eq!(accused_of(&[(1, 7)]), [0; 0]);
        assert_eq!(accused_of(&[(1, 7), (1, 7), (1, 7)]), [0; 0]);
    }

    #[test]
    fn the_minority_is_accused_be_it_the_leader() {
        assert_eq!(accused_of(&[(1, 7), (1, 7), (1, 8)]), [3]);
        assert_eq!(accused_of(&[(1, 8), (1, 7), (1, 7)]), [1]);
        assert_eq!(accused_of(&[(1, 8), (1, 7), (1, 7), (1, 9), (1, 7)]), [1, 4]);
    }

    #[test]
    fn where_nobody_can_say_who_is_right_the_leader_is_accused() {
        assert_eq!(accused_of(&[(1, 7), (1, 8)]), [1]);
        assert_eq!(accused_of(&[(1, 7), (1, 7), (1, 8), (1, 8)]), [1]);
        assert_eq!(accused_of(&[(1, 7), (1, 8), (1, 9)]), [1]);
    }

    #[test]
    fn what_was_compacted_elsewhere_is_not_compared() {
        assert_eq!(accused_of(&[(1, 7), (2, 8), (1, 7)]), [0; 0]);
        assert_eq!(accused_of(&[(1, 7), (2, 8), (2, 8)]), [0; 0]);
        assert_eq!(accused_of(&[(1, 7), (1, 7), (1, 8), (2, 9), (2, 9)]), [3]);
    }

    #[test]
    fn without_the_leaders_own_nothing_is_compared() {
        let one = |hash| Fingerprint { compacted: Revision(1), hash };
        let found = BTreeMap::from([(NodeId(2), one(7)), (NodeId(3), one(8))]);
        assert_eq!(accused(LEADER, &found), []);
    }
}
