//! What happened in a run, counted: the proof that its faults were real, and that its verdict was not vacuous.

use std::fmt;
use std::ops::AddAssign;

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// How often each thing happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Each counter's name and value, in the order of their declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Counters) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Events taken from the queue.
    events,
    /// Inputs that a protocol took.
    steps,
    /// Messages that left a node.
    sent,
    /// Messages that a protocol took.
    delivered,
    /// Messages lost by chance.
    lost,
    /// Messages lost to a link that was cut, or to a connection that was reset.
    cut,
    /// Messages that arrived at a node that was down.
    undeliverable,
    /// Messages that the network carried twice.
    duplicated,
    /// Messages that overtook an earlier one of the same link.
    reordered,
    /// Messages that took a spike's time.
    spikes,
    /// Messages that travelled as bytes. None, unless the bounds mix versions; neither is any of the four that follow.
    encoded,
    /// Messages between nodes of different versions.
    between_versions,
    /// Messages that said nothing that the receiver's version knows.
    unread,
    /// Nodes restarted as the next version.
    upgrades,
    /// Nodes restarted as this version again.
    downgrades,
    /// Timers that fired.
    fired,
    /// Turns that took more than one input.
    batches,
    /// Records persisted.
    persisted,
    /// Syncs completed.
    syncs,
    /// Syncs that stalled.
    stalls,
    /// Syncs that failed, which ended the process.
    syncs_failed,
    /// Spells in which a disk was full.
    full_spells,
    /// Syncs that were put off because the disk was full.
    syncs_put_off,
    /// Boots that came to nothing because the disk could not be read or had no room.
    boots_refused,
    /// Clocks that jumped.
    clock_jumps,
    /// Disks that were ruined. None, unless the bounds allow it; neither is any of the three that follow.
    ruins,
    /// Nodes that have lost their memory and know it.
    losses_known,
    /// Nodes that have lost their memory and can't know it.
    losses_unknown,
    /// Nodes that were whole again after a loss.
    losses_mended,
    /// Crashes.
    crashes,
    /// Crashes in the middle of a write.
    crashes_mid_write,
    /// Crashes that left a part of what was not synced on the disk, and another part not.
    torn,
    /// Records that crashes lost.
    records_lost,
    /// Boots after a crash.
    restarts,
    /// Pauses of a node.
    pauses,
    /// Spells in which a node was slow.
    slow_spells,
    /// Symmetric partitions.
    partitions,
    /// Partitions of one direction.
    one_way_partitions,
    /// Times that a flapping link was cut.
    flaps,
    /// Connections reset.
    resets,
    /// Spells of heavy loss.
    loss_spells,
    /// Spells of long delay.
    clogs,
    /// Hints of a lost connection that a protocol took.
    hints,
    /// Requests put to a node.
    asked,
    /// Requests answered.
    answered,
    /// Requests whose outcome a crash left unknown.
    orphaned,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, count) in self.each().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{name} {count}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_print_what_is_not_zero() {
        let mut sum = Counters { sent: 1, ..Counters::default() };
        sum += Counters { sent: 2, crashes: 4, ..Counters::default() };
        assert_eq!(sum.to_string(), "sent 3, crashes 4");
        assert_eq!(sum.each().map(|(_, count)| count).sum::<u64>(), 7);
    }
}
