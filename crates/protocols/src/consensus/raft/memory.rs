//! Members that lost their memory: a wiped disk, an older copy of it, a log set aside because it rotted.
//!
//! Raft is safe because nobody forgets what it voted for and what it acknowledged. A member that may have forgotten is
//! *reborn*: it goes on under another `life`, a number drawn at random, and the rule is that **a member votes, campaigns
//! and is counted only under the life that the membership in force names for it**. What its log still holds is as good
//! as ever, but until it is taken in again it counts for nothing. A leader that hears from a reborn member takes it in by
//! itself ([`Config::readmit_members`]): it names the new life and takes the vote away in one change, brings the member
//! up to date, and gives it the vote back in another.
//!
//! Why that is safe. Of n voters one, w, was reborn. An entry that is committed with its forgotten help, or a leader
//! elected by its forgotten vote, has ⌊n/2⌋ of the n − 1 others behind it. A majority that w is not in has ⌊n/2⌋ + 1 of
//! them, and so has, with ⌊(n − 1)/2⌋ + 1, one of the membership without w: either meets those ⌊n/2⌋ in somebody who has
//! forgotten nothing. So whoever leads after the loss holds what w helped to commit, and so do those who commit that w
//! votes no more. When it votes again, that is behind it in the log of whoever counts it, for no leader may give the vote
//! back before it has committed that it was taken away. A vote of the old life counts for nobody who knows of this, and
//! nobody who doesn't can win, now or later, without one of those who do.
//!
//! How a loss is found out. The world may say so ([`Durable::memory_lost`]). If it doesn't know, the others may: each run
//! of a member has a number, its boot, and each member remembers, durably, the highest boot it has heard of each other.
//! All that is said about votes and copies carries a [`Greeting`]: the sender's life and boot, and the boot that it knows
//! of the receiver. A member tells a peer its boot only once the peer, in this run, has told what it knew, and the disk
//! knows that it has ([`Met::told_in`]). So the disk of a member that has forgotten nothing knows, of each peer, the newest
//! run that the peer can have heard of. If the peer has heard of a newer one, that one was forgotten. A member that starts
//! asks everybody what they know of it ([`Message::Hello`]), and before it gives anybody a vote or an acknowledgement,
//! that one has told it.
//!
//! To compare with the number of the member's own run would not do. One that was wiped, or given back an older copy of its
//! disk, counts its runs anew, and comes to count more than it has forgotten if enough of them are cut short: before
//! anybody has told it anything, or when only those have who had heard of nothing. What the disk knows of a peer doesn't
//! change meanwhile. It is of the time before the forgotten run, and so less than that run's number, until the peer tells
//! again; and the first that it then tells is that number, or a higher one. Only what was before the life began is let
//! pass: it was forgotten, and that is known.
//!
//! The log's disk and the application's may fail apart. A state that the application still has is as good as any
//! snapshot, whatever the log forgot: the member begins its log there ([`Durable::applied`]), and counts for nothing
//! until it is taken in again.
//!
//! What is found out, then: that a run was forgotten, by the time a member that has heard of that run counts on the one
//! that forgot it. What is not: a loss within the last run that is left (a copy of the disk taken while the run went on,
//! put back before another began), and a run that nobody heard of who can be reached now: all who did are down, cut off,
//! or have lost their memory too. Nor is one that a peer first heard of between sending a message and its arrival, if the
//! message outlives the loss: it passes for what the peer knows now. Whoever puts back a copy of a disk should say so.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use quorate_core::{NodeId, Out};

use super::log::Term;
use super::membership::Standing;
use super::message::Message;
use super::{Config, Durable, Raft, Record};

/// What one member tells another about memories: its own, and what it remembers of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Greeting {
    /// The life that the sender speaks for.
    pub life: u64,
    /// The sender's run; 0 as long as the receiver has not told, in that run, what it knows of the sender.
    pub boot: u64,
    /// The highest run of the receiver that the sender has heard of; 0 if none.
    pub met: u64,
}

/// What a member remembers of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Met {
    /// The life it lived when it was last heard of.
    pub life: u64,
    /// Its newest run.
    pub boot: u64,
    /// The newest run of our own in which it has told us what it knew of us: none that it can have heard of is newer.
    pub told_in: u64,
}

/// What a member that starts with `durable` remembers, its run, and the record that says which run that is.
pub(super) fn start(
    config: &Config,
    durable: &Durable,
    out: &mut Out<'_, Raft>,
) -> (Memory, u64, Record) {
    let met = durable.met.clone();
    if durable.memory_lost && !config.mutants.has("votes_after_memory_loss") {
        let (life, boot) = draw_life(durable.boot, out);
        let memory = Memory { life, born: boot, met, unsynced: None };
        return (memory, boot, Record::Reborn { life, boot });
    }
    let (life, born, boot) = (durable.life, durable.born, durable.boot + 1);
    (Memory { life, born, met, unsynced: None }, boot, Record::Booted { boot, born })
}

/// A life that nobody ever lived, and a run that is not one of those forgotten: more than `boot`, by a leap at random.
fn draw_life(boot: u64, out: &mut Out<'_, Raft>) -> (u64, u64) {
    let mut draw = || u64::from(out.choose(1 << 31));
    let life = (draw() << 31 | draw()).max(1);
    (life, boot + 2 + draw())
}

/// What a member knows of its own memory and of the others'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) life: u64,
    /// The run in which that life began; 0 for the first.
    pub(super) born: u64,
    pub(super) met: BTreeMap<NodeId, Met>,
    /// The newest record that somebody has told us, until it is durable.
    unsynced: Option<u64>,
}

impl Hash for Memory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Memory { life, born, met, unsynced } = self;
        NodeId::hash_each(met, state);
        (life, born, unsynced).hash(state);
    }
}

impl Memory {
    fn of(&self, peer: NodeId) -> Met {
        self.met.get(&peer).copied().unwrap_or_default()
    }

    /// What is told to `peer`, in the run `boot`, with all that is about votes and copies, and waits for the disk.
    fn greeting_for(&self, boot: u64, peer: NodeId) -> Greeting {
        let Met { boot: met, told_in, .. } = self.of(peer);
        Greeting { life: self.life, boot: if told_in == boot { boot } else { 0 }, met }
    }

    /// What is told to `peer` with what doesn't wait: our run only if the disk knows that `peer` may hear of it.
    pub(super) fn early_greeting_for(&self, boot: u64, peer: NodeId) -> Greeting {
        let greeting = self.greeting_for(boot, peer);
        if self.unsynced.is_some() { Greeting { boot: 0, ..greeting } } else { greeting }
    }

    /// The records up to and including `upto` are durable.
    pub(super) fn on_synced(&mut self, upto: u64) {
        self.unsynced.take_if(|number| *number <= upto);
    }

    /// Whether `peer`, which has heard of our run `met`, can only have heard of it in a run that we have forgotten. What
    /// was before this life began was forgotten, and is known to be.
    fn has_forgotten(&self, config: &Config, boot: u64, peer: NodeId, met: u64) -> bool {
        let told_in = self.of(peer).told_in;
        if config.mutants.has("counts_past_forgotten_runs") {
            return met > boot || (met == boot && told_in != boot);
        }
        met > told_in.max(self.born)
    }
}

impl Raft {
    /// The life of its memory that this member speaks for.
    pub fn life(&self) -> u64 {
        self.memory.life
    }

    /// The newest run of another member that this one has heard of; 0 if none.
    pub fn met(&self, peer: NodeId) -> u64 {
        self.memory.of(peer).boot
    }

    /// Whether this member has a vote, as far as it knows, and speaks under the life that the members know.
    pub fn counts(&self, config: &Config) -> bool {
        self.committed_membership().get(config.me).is_some_and(|member| {
            member.standing == Standing::Voter && member.life == self.memory.life
        })
    }

    pub(super) fn greeting_for(&self, peer: NodeId) -> Greeting {
        self.memory.greeting_for(self.boot, peer)
    }

    /// Asks everybody what they know of us.
    pub(super) fn say_hello(&self, config: &Config, out: &mut Out<'_, Self>) {
        for peer in self.memberships.newest().nodes() {
            if peer != config.me {
                out.send(peer, Message::Hello { greeting: self.greeting_for(peer) });
            }
        }
    }

    pub(super) fn on_hello(&self, from: NodeId, greeting: Greeting, out: &mut Out<'_, Self>) {
        // It asks what we know, or doesn't know us yet.
        if greeting.boot == 0 || greeting.met < self.boot {
            out.send(from, Message::Hello { greeting: self.greeting_for(from) });
        }
    }

    /// Takes note of what `from` says about memories, before anything else that it says. Whether it makes sense.
    pub(super) fn take_greeting(
        &mut self,
        config: &Config,
        from: NodeId,
        greeting: Greeting,
        out: &mut Out<'_, Self>,
    ) -> bool {
        let Greeting { life, boot, met } = greeting;
        // Runs are counted, like terms, and leaps are short: an honest one never comes near.
        if boot.max(met) >= Term::END.0 {
            return false;
        }
        if self.memory.has_forgotten(config, self.boot, from, met) {
            self.be_reborn(config, met, out);
        }
        let known = self.memory.of(from);
        let newest = if boot > known.boot { Met { life, boot, ..known } } else { known };
        let newest = Met { told_in: self.boot, ..newest };
        if newest != known {
            self.memory.met.insert(from, newest);
            let forgets = config.mutants.has("forgets_whom_it_met");
            let met = if forgets { Met { life: 0, boot: 0, ..newest } } else { newest };
            let number = out.persist(Record::Met { peer: from, met });
            let is_told = newest.told_in != known.told_in;
            if is_told && !config.mutants.has("tells_its_run_early") {
                self.memory.unsynced = Some(number);
            }
        }
        true
    }

    /// There was a run, `met`, that this one knows nothing of.
    fn be_reborn(&mut self, config: &Config, met: u64, out: &mut Out<'_, Self>) {
        if config.mutants.has("votes_after_memory_loss") {
            return;
        }
        let (life, boot) = draw_life(met.max(self.boot), out);
        self.memory.life = life;
        self.memory.born = boot;
        self.boot = boot;
        out.persist(Record::Reborn { life, boot });
        // Our proposals bear the number of a run that is over; submitted again, they would pass for others.
        self.proposals.give_up_all(|id, response| out.reply(id, response));
        self.reads.ask_again();
        // A run that we know nothing of may have made one (`lease`).
        self.promise(config, out);
        if self.is_leader() || self.is_candidate() {
            self.follow(config, self.term, None, out);
        }
    }

    /// Whether what `from` says counts: it lives the life that the membership in force names. One that is not named
    /// counts for nothing anyway.
    pub(super) fn speaks_for_itself(
        &self,
        config: &Config,
        from: NodeId,
        greeting: Greeting,
    ) -> bool {
        self.memberships.newest().get(from).is_none_or(|member| member.life == greeting.life)
            || config.mutants.has("counts_other_lives")
    }
}
