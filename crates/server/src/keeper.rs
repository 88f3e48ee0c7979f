//! What a node sees to by itself about the membership: it introduces itself, it gives newcomers their votes while it
//! leads, it compacts the history while it leads and was told to, it compares the members' data while it leads, it raises
//! and clears its own alarm, it has leases end in time, and it finds out when it is no member any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::NodeId;
use quorate_kv::error::Error;
use quorate_kv::request::Revision;
use quorate_kv::service::{Alarm, Member, MemberChange, Status};
use quorate_runtime::Metrics;
use tracing::{info, warn};

use crate::compactor::Compactor;
use crate::comparison::Comparison;
use crate::config::{AutoCompaction, HttpUrl};
use crate::desk::Desk;
use crate::enquiry::{self, Enquiry};

/// How often there may be something to see to.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often leases may end.
const TICK_EVERY: Duration = Duration::from_millis(250);
/// For how many looks in a row a node has no leader before it asks others whether it is still a member.
const LOOKS_WITHOUT_LEADER: u32 = 15;

/// Keeps what the members know of this node up to date.
pub(crate) struct Keeper {
    pub(crate) desk: Desk,
    pub(crate) me: NodeId,
    pub(crate) cluster: u64,
    /// What people call this node.
    pub(crate) name: String,
    /// Where clients reach it.
    pub(crate) client_urls: Vec<String>,
    /// Where other nodes may be, beside where the members are known to be.
    pub(crate) addresses: Vec<String>,
    /// How much history is kept, if that is limited.
    pub(crate) auto_compaction: Option<AutoCompaction>,
    /// How often the members' data is compared, if it is.
    pub(crate) corrupt_check_time: Option<Duration>,
    /// Whether its log has room.
    pub(crate) metrics: Arc<Metrics>,
}

impl Keeper {
    /// Ends only when this node is no member of its cluster any more, or has stopped.
    pub(crate) async fn run(self) {
        tokio::select! {
            () = self.see_to_members() => {}
            () = self.tell_time() => {}
            () = self.compare() => {}
        }
    }

    /// Has leases end in time. What has passed is for the node to say, which counts only while it leads.
    async fn tell_time(&self) {
        while self.desk.tick().await.is_ok() {
            tokio::time::sleep(TICK_EVERY).await;
        }
    }

    /// Compares the members' data while it leads, if it is to.
    async fn compare(&self) {
        match self.corrupt_check_time {
            Some(every) => {
                let Keeper { desk, me, cluster, .. } = self;
                Comparison { desk, me: *me, cluster: *cluster, every }.run().await;
            }
            None => std::future::pending().await,
        }
    }

    async fn see_to_members(&self) {
        let mut looks_without_leader = 0;
        let mut is_waiting = false;
        let mut was_over_quota = false;
        let began = Instant::now();
        let mut compactor = self.auto_compaction.map(|how| Compactor::new(how, Duration::ZERO));
        loop {
            let Ok(status) = self.desk.status().await else { return };
            let is_reborn = status.life != 0 && !status.is_counted;
            match (is_waiting, is_reborn) {
                (false, true) => {
                    warn!("this node has lost its memory, and waits to be taken in again")
                }
                (true, false) => info!("this node is taken in again: its vote counts"),
                _ => {}
            }
            is_waiting = is_reborn;
            let members = self.desk.members(false).await.map(|members| members.members);
            let members = members.unwrap_or_default();
            if status.is_removed {
                return;
            }
            if status.leader.is_some() {
                looks_without_leader = 0;
                self.introduce(&members).await;
                self.sound_alarm(&members, Alarm::DiskFull, self.is_disk_full(&status)).await;
                // One that was raised by hand is cleared by hand.
                if status.is_over_quota || was_over_quota {
                    let is_set =
                        self.sound_alarm(&members, Alarm::NoSpace, status.is_over_quota).await;
                    was_over_quota = status.is_over_quota || !is_set;
                }
            } else {
                looks_without_leader += 1;
                if looks_without_leader % LOOKS_WITHOUT_LEADER == 0
                    && self.is_removed_elsewhere(&members).await
                {
                    return;
                }
            }
            let leads = status.leader == Some(self.me);
            if leads {
                self.promote(&members).await;
            }
            if let Some(compactor) = &mut compactor {
                self.compact(compactor, began.elapsed(), &status, leads).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets go of the history that is not to be kept, if it is time.
    async fn compact(
        &self,
        compactor: &mut Compactor,
        now: Duration,
        status: &Status,
        leads: bool,
    ) {
        compactor.done(status.compact_revision.0 as u64);
        let revision = status.revision.0 as u64;
        let Some(target) = compactor.look(now, revision, leads) else { return };
        match self.desk.compact(Revision(target as i64)).await {
            Ok(()) => info!(revision = target, "compacted the history, as it was asked to"),
            Err(Error::Compacted) => {}
            Err(error) => {
                warn!(revision = target, %error, "could not compact the history; it is tried again")
            }
        }
    }

    /// Has all know this node's name and where clients reach it.
    async fn introduce(&self, members: &[Member]) {
        let Some(own) = members.iter().find(|member| member.node == self.me) else { return };
        if own.info.name == self.name && own.info.client_urls == self.client_urls {
            return;
        }
        let change = MemberChange::Introduce {
            node: self.me,
            name: self.name.clone(),
            client_urls: self.client_urls.clone(),
        };
        if let Err(error) = self.desk.change(change).await {
            info!(%error, "could not introduce this node to the others yet");
        }
    }

    /// Whether there is no room left on this node's disk.
    fn is_disk_full(&self, status: &Status) -> bool {
        (status.is_full && !status.is_over_quota) || self.metrics.is_disk_full()
    }

    /// Has all know whether this node has room. So the alarm says what is: it goes by itself once there is room, and comes
    /// back if it is cleared before. Returns whether all know.
    async fn sound_alarm(&self, members: &[Member], alarm: Alarm, is_raised: bool) -> bool {
        let Some(change) = alarm_change(self.me, members, alarm, is_raised) else { return true };
        let outcome = self.desk.change(change).await;
        match (&outcome, alarm) {
            (Ok(_), Alarm::NoSpace) if is_raised => {
                warn!("the store is larger than its quota; what takes room is refused everywhere")
            }
            (Ok(_), _) if is_raised => warn!("there is no room left on this node's disk"),
            (Ok(_), _) => info!("there is room again on this node"),
            // It is tried again at the next look.
            (Err(error), _) => info!(%error, "could not tell the others of this node's alarm yet"),
        }
        outcome.is_ok()
    }

    /// While this node leads: gives a vote to those who await it and have caught up.
    async fn promote(&self, members: &[Member]) {
        // One that has not introduced itself has only just started, and people would not know whose vote it is.
        let awaiting = members.iter().filter(|member| {
            member.is_learner && member.info.awaits_vote && !member.info.name.is_empty()
        });
        for newcomer in awaiting {
            let node = newcomer.node;
            match self.desk.change_here(MemberChange::Promote { node }).await {
                Ok(_) => info!(%node, "a new member has caught up and votes now"),
                // It is asked again at the next look.
                Err(Error::LearnerNotReady | Error::ChangeUnderWay | Error::NotLeader) => {}
                Err(error) => warn!(%node, %error, "could not give a new member its vote yet"),
            }
        }
    }

    /// Whether the others have agreed that this node is no member: those who are not are told nothing any more, and
    /// so have to ask.
    async fn is_removed_elsewhere(&self, members: &[Member]) -> bool {
        let others = members.iter().filter(|member| member.node != self.me);
        let known = others.flat_map(|member| &member.info.peer_urls);
        let known = known.filter_map(|url| Some(url.parse::<HttpUrl>().ok()?.address()));
        for address in known.chain(self.addresses.iter().cloned()) {
            let dialer = self.desk.dialer.as_ref();
            let roll = enquiry::ask(&address, dialer, Some(self.cluster), &Enquiry::Roll).await;
            if let Ok((_, roll)) = roll {
                return roll.members.iter().all(|member| member.node != self.me);
            }
        }
        false
    }
}

/// What is to be changed for the members to know whether a node has room; none if they do.
fn alarm_change(
    node: NodeId,
    members: &[Member],
    alarm: Alarm,
    is_raised: bool,
) -> Option<MemberChange> {
    let own = members.iter().find(|member| member.node == node)?;
    let is_known = own.info.alarms().any(|known| known == alarm);
    (is_known != is_raised).then_some(MemberChange::SetAlarm { node, alarm, is_raised })
}

#[cfg(test)]
mod tests {
    use quorate_kv::node::members::MemberInfo;

    use super::*;

    #[test]
    fn an_alarm_is_raised_and_cleared_once_and_about_oneself() {
        let (own, other) = (NodeId(1), NodeId(2));
        let member = |node, alarm_numbers: &[i32]| Member {
            node,
            is_learner: false,
            info: MemberInfo { alarm_numbers: alarm_numbers.into(), ..Default::default() },
        };
        let quiet = [member(own, &[]), member(other, &[1])];
        let loud = [member(own, &[1, 2]), member(other, &[])];
        let set = |is_raised| {
            Some(MemberChange::SetAlarm { node: own, alarm: Alarm::NoSpace, is_raised })
        };
        assert_eq!(alarm_change(own, &quiet, Alarm::NoSpace, true), set(true));
        assert_eq!(alarm_change(own, &quiet, Alarm::NoSpace, false), None);
        assert_eq!(alarm_change(own, &loud, Alarm::NoSpace, true), None);
        assert_eq!(alarm_change(own, &loud, Alarm::NoSpace, false), set(false));
        assert_eq!(
            alarm_change(NodeId(3), &loud, Alarm::NoSpace, true),
            None,
            "one that is no member says nothing"
        );
    }
}
