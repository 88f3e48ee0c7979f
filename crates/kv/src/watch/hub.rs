//! The hub: all watches of one node, and what each is to be told next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_core::Mutants;
use quorate_engine::EngineError;

use super::History;
use super::index::{Index, WatchKey};
use super::notice::{Notice, Refusal, StreamId, Watch};
use crate::request::{Event, Revision};
use crate::service::Known;
use crate::store::Portion;

/// The names of all deliberate bugs that a hub can be made with.
pub const MUTANTS: &[&str] = &[
    "watch_drops_what_has_no_room",
    "watch_repeats_a_revision",
    "watch_misses_its_first_revision",
    "watch_is_level_too_early",
    "watch_progress_runs_ahead",
    "watch_ignores_its_filter",
    "watch_parts_a_revision",
    "watch_survives_compaction",
    "watch_survives_revocation",
];

/// How many watches one stream may have.
pub const WATCHES_PER_STREAM_MAX: usize = 1 << 20;

/// How much a hub does at a time, and how much it keeps for slow clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much may be under way to one stream, in bytes, before its watches fall behind.
    pub queued_bytes_max: usize,
    /// What one step reads.
    pub portion: Portion,
    /// How many watches that are behind one step serves.
    pub behind_per_step: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queued_bytes_max: 1 << 20,
            portion: Portion { changes: 1000, bytes: 1 << 20 },
            behind_per_step: 512,
        }
    }
}

/// All watches of one node.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    mutants: Mutants,
    /// The newest history that is known.
    history: History,
    /// All level watches have been told of all up to here.
    position: Revision,
    streams: BTreeMap<StreamId, Stream>,
    watches: BTreeMap<WatchKey, Watching>,
    next_key: WatchKey,
    /// How many watches want to know what was there before.
    prev_kv_wanted: usize,
    /// The level watches.
    level: Index,
    /// Those that are behind and whose stream has room, by the first revision that each was not told of.
    behind: BTreeSet<(Revision, WatchKey)>,
    /// Streams that asked for progress and were not told yet.
    inquiring: BTreeSet<StreamId>,
    notices: Vec<(StreamId, Notice)>,
}

#[derive(Debug, Default)]
struct Stream {
    watches: BTreeMap<i64, WatchKey>,
    /// The next id that the hub chooses.
    next_id: i64,
    /// What is under way to the client.
    queued_bytes: usize,
    /// The watches that are behind.
    behind: BTreeSet<WatchKey>,
    /// Progress was asked for when this node had applied so much.
    asked_at: Revision,
}

#[derive(Debug)]
struct Watching {
    stream: StreamId,
    id: i64,
    watch: Watch,
    /// The first revision that it was not told of, if it is behind or yet to begin.
    next: Revision,
    is_level: bool,
    /// Whether it was told nothing since the last tick.
    is_quiet: bool,
}

impl Hub {
    /// A hub without watches.
    pub fn new(history: History, limits: Limits, mutants: Mutants) -> Self {
        Hub {
            limits,
            mutants,
            position: history.now,
            history,
            streams: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_key: 0,
            prev_kv_wanted: 0,
            level: Index::default(),
            behind: BTreeSet::new(),
            inquiring: BTreeSet::new(),
            notices: Vec::new(),
        }
    }

    /// What the hub knows of. There may be more.
    pub fn known(&self) -> Known {
        Known { revision: self.history.now, auth: self.history.auth.version() }
    }

    /// All level watches have been told of all up to this revision.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// The number of watches.
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// The number of watches that are behind.
    pub fn watches_behind(&self) -> usize {
        self.streams.values().map(|stream| stream.behind.len()).sum()
    }

    /// The number of streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What is to be told since the last call, in order.
    pub fn take_notices(&mut self) -> Vec<(StreamId, Notice)> {
        std::mem::take(&mut self.notices)
    }

    /// Begins a stream, whose id must be new.
    pub fn open(&mut self, stream: StreamId) {
        self.streams.insert(stream, Stream::default());
    }

    /// Ends a stream with all its watches. Nobody is told.
    pub fn close(&mut self, stream: StreamId) {
        let Some(ended) = self.streams.remove(&stream) else { return };
        self.inquiring.remove(&stream);
        for key in ended.watches.into_values() {
            self.forget(key);
        }
    }

    /// A newer state of the store is known. An older one changes nothing.
    pub fn learn(&mut self, history: History) {
        self.take_newer(history);
        if self.watches.is_empty() {
            // The next watch comes with a history of its own.
            self.history.release();
        }
    }

    fn take_newer(&mut self, history: History) {
        let Known { revision, auth } = self.known();
        let is_newer = history.now >= revision
            && history.auth.version() >= auth
            && history.compacted >= self.history.compacted;
        if is_newer || self.history.is_released() {
            self.history = history;
            if self.history.auth.version() > auth && !self.mutants.has("watch_survives_revocation")
            {
                self.end_denied();
            }
        }
    }

    /// Ends the watches of those who may no longer read what they watch, before they are told of anything that came after.
    fn end_denied(&mut self) {
        let denied = self.watches.iter().filter_map(|(key, watching)| {
            let why = watching.watch.denial(&self.history, self.mutants)?;
            Some((*key, why))
        });
        for (key, why) in denied.collect::<Vec<_>>() {
            let Watching { stream, id, .. } = self.watches[&key];
            self.forget(key);
            if let Some(open) = self.streams.get_mut(&stream) {
                open.watches.remove(&id);
            }
            let revision = self.history.now;
            self.tell(stream, Notice::Denied { watch: id, why, revision });
        }
    }

    /// Creates a watch, or says why not. `history` is no older than when the client asked; an `id` that is 0 is the
    /// hub's to choose.
    pub fn create(&mut self, stream: StreamId, id: i64, watch: Watch, history: History) {
        let now = history.now;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        // The permission may have gone after the client's look at the store, and this hub know of it already.
        let newest = match self.history.auth.version() > history.auth.version() {
            true => &self.history,
            false => &history,
        };
        let why = if let Some(why) = watch.denial(newest, self.mutants) {
            Some(Refusal::Denied(why))
        } else if watch.range.is_empty() {
            Some(Refusal::EmptyRange)
        } else if id != 0 && open.watches.contains_key(&id) {
            Some(Refusal::DuplicateId)
        } else if open.watches.len() >= WATCHES_PER_STREAM_MAX {
            Some(Refusal::TooMany)
        } else {
            None
        };
        if let Some(why) = why {
            self.tell(stream, Notice::Refused { why, revision: now });
            return;
        }
        let id = if id == 0 {
            while open.watches.contains_key(&open.next_id) {
                open.next_id += 1;
            }
            open.next_id += 1;
            open.next_id - 1
        } else {
            id
        };
        let next = if watch.start.0 > 0 { watch.start } else { Revision(now.0 + 1) };
        let next = match self.mutants.has("watch_misses_its_first_revision") && next <= now {
            true => Revision(next.0 + 1),
            false => next,
        };
        let key = self.next_key;
        self.next_key += 1;
        open.watches.insert(id, key);
        self.prev_kv_wanted += usize::from(watch.prev_kv);
        let watching = Watching { stream, id, watch, next, is_level: false, is_quiet: true };
        self.watches.insert(key, watching);
        self.take_newer(history);
        self.tell(stream, Notice::Created { watch: id, revision: now });
        if next > self.position {
            self.be_level(key);
        } else {
            self.fall_behind(key, next);
        }
    }

    /// Ends a watch, if there is one of this id.
    pub fn cancel(&mut self, stream: StreamId, id: i64) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(key) = open.watches.remove(&id) else { return };
        self.forget(key);
        let revision = self.history.now;
        self.tell(stream, Notice::Canceled { watch: id, compacted: None, revision });
    }

    /// The client of a stream asks how far its watches have come. `history` is no older than when it asked.
    pub fn inquire(&mut self, stream: StreamId, history: History) {
        let now = history.now;
        self.learn(history);
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.asked_at = now;
        self.inquiring.insert(stream);
        self.tell_progress();
    }

    /// Time for those who asked for progress from time to time to be told.
    pub fn tick(&mut self) {
        let mut quiet = Vec::new();
        for watching in self.watches.values_mut() {
            let was_quiet = std::mem::replace(&mut watching.is_quiet, true);
            // One that is yet to begin has come farther than all that can be said.
            let is_level = watching.is_level && watching.next.0 <= self.position.0 + 1;
            let is_due = watching.watch.progress_notify && was_quiet;
            if is_due && (is_level || self.mutants.has("watch_progress_runs_ahead")) {
                quiet.push((watching.stream, watching.id));
            }
        }
        let revision = match self.mutants.has("watch_progress_runs_ahead") {
            true => self.history.now,
            false => self.position,
        };
        for (stream, id) in quiet {
            if self.has_room(stream) {
                self.tell(stream, Notice::Progress { watch: Some(id), revision });
            }
        }
    }

    /// Notices of so many bytes are no longer under way to a stream's client.
    pub fn sent(&mut self, stream: StreamId, bytes: usize) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let had_room = open.queued_bytes < self.limits.queued_bytes_max;
        open.queued_bytes = open.queued_bytes.saturating_sub(bytes);
        if open.queued_bytes < self.limits.queued_bytes_max && !had_room {
            for key in &open.behind {
                self.behind.insert((self.watches[key].next, *key));
            }
        }
    }

    /// Takes a step: reads some changes, and says whom they concern. Returns whether there is more to do now.
    ///
    /// # Errors
    /// What could not be read from the history. Nobody was told of it, and a newer history may do.
    pub fn work(&mut self) -> Result<bool, EngineError> {
        if self.position < self.history.now {
            self.advance()?;
        }
        if !self.behind.is_empty() {
            self.catch_up()?;
        }
        self.tell_progress();
        Ok(self.position < self.history.now || !self.behind.is_empty())
    }

    /// Tells the level watches of what comes next.
    fn advance(&mut self) -> Result<(), EngineError> {
        let from = Revision(self.position.0 + 1);
        if self.level.is_empty() {
            self.position = self.history.now;
            return Ok(());
        }
        if from < self.history.compacted {
            // Another replica's state took the place of this one's.
            self.position = self.history.now;
            let level = self.watches.iter().filter(|(_, watching)| watching.is_level);
            let level = level.map(|(key, watching)| (*key, watching.next.max(from)));
            for (key, next) in level.collect::<Vec<_>>() {
                if next <= self.position {
                    self.level.remove(key, &self.watches[&key].watch.range);
                    self.fall_behind(key, next);
                }
            }
            return Ok(());
        }
        let wants_prev_kv = self.prev_kv_wanted > 0;
        let changes =
            self.history.read(from, self.history.now, self.limits.portion, wants_prev_kv)?;
        self.position = changes.upto;
        let mut told: BTreeMap<WatchKey, Vec<Arc<Event>>> = BTreeMap::new();
        for event in changes.events.into_iter().map(Arc::new) {
            let watches = &self.watches;
            self.level.each(&event.kv.key, |key| {
                let watching = &watches[&key];
                if watching.next <= event.kv.mod_revision
                    && watching.watch.wants(&event, self.mutants)
                {
                    told.entry(key).or_default().push(event.clone());
                }
            });
        }
        for (key, events) in told {
            let stream = self.watches[&key].stream;
            if self.has_room(stream) {
                self.tell_events(key, events, changes.upto);
            } else if !self.mutants.has("watch_drops_what_has_no_room") {
                let next = events[0].kv.mod_revision;
                self.level.remove(key, &self.watches[&key].watch.range);
                self.fall_behind(key, next);
            }
        }
        Ok(())
    }

    /// Tells some of those that are behind what they have missed.
    fn catch_up(&mut self) -> Result<(), EngineError> {
        let mut served: Vec<(Revision, WatchKey)> =
            self.behind.iter().take(self.limits.behind_per_step).copied().collect();
        if !self.mutants.has("watch_survives_compaction") {
            let compacted = self.history.compacted;
            for (next, key) in served.extract_if(.., |(next, _)| *next < compacted) {
                self.behind.remove(&(next, key));
                self.cancel_for_compaction(key);
            }
        }
        let Some((from, _)) = served.first().copied() else { return Ok(()) };
        let mut index = Index::default();
        for (_, key) in &served {
            index.add(*key, &self.watches[key].watch.range);
        }
        let from = from.max(self.history.compacted);
        let wants_prev_kv = served.iter().any(|(_, key)| self.watches[key].watch.prev_kv);
        let changes = self.history.read(from, self.position, self.limits.portion, wants_prev_kv)?;
        let mut told: BTreeMap<WatchKey, Vec<Arc<Event>>> = BTreeMap::new();
        for event in changes.events.into_iter().map(Arc::new) {
            index.each(&event.kv.key, |key| {
                let watching = &self.watches[&key];
                let is_new = watching.next <= event.kv.mod_revision
                    || (self.mutants.has("watch_repeats_a_revision")
                        && watching.next.0 == event.kv.mod_revision.0 + 1);
                if is_new && watching.watch.wants(&event, self.mutants) {
                    told.entry(key).or_default().push(event.clone());
                }
            });
        }
        for (next, key) in served {
            self.behind.remove(&(next, key));
            if let Some(events) = told.remove(&key) {
                if !self.has_room(self.watches[&key].stream) {
                    // One before it took the room. It is served when there is some again.
                    continue;
                }
                self.tell_events(key, events, changes.upto);
            }
            let next = next.max(Revision(changes.upto.0 + 1));
            let watching = self.watches.get_mut(&key).expect("a watch that was served is gone");
            watching.next = next;
            if next > self.position || self.mutants.has("watch_is_level_too_early") {
                self.be_level(key);
            } else if self.has_room(self.watches[&key].stream) {
                self.behind.insert((next, key));
            }
        }
        Ok(())
    }

    fn cancel_for_compaction(&mut self, key: WatchKey) {
        let Watching { stream, id, .. } = self.watches[&key];
        self.forget(key);
        if let Some(open) = self.streams.get_mut(&stream) {
            open.watches.remove(&id);
        }
        let History { now, compacted, .. } = self.history;
        self.tell(
            stream,
            Notice::Canceled { watch: id, compacted: Some(compacted), revision: now },
        );
    }

    fn tell_progress(&mut self) {
        let is_told = |id: &StreamId| {
            let stream = &self.streams[id];
            let has_begun = |key| self.watches[key].next.0 <= self.position.0 + 1;
            stream.behind.is_empty()
                && stream.asked_at <= self.position
                && stream.watches.values().all(has_begun)
                && self.has_room(*id)
        };
        let told: Vec<StreamId> = self.inquiring.iter().copied().filter(is_told).collect();
        for stream in told {
            self.inquiring.remove(&stream);
            self.tell(stream, Notice::Progress { watch: None, revision: self.position });
        }
    }

    fn has_room(&self, stream: StreamId) -> bool {
        self.streams[&stream].queued_bytes < self.limits.queued_bytes_max
    }

    fn be_level(&mut self, key: WatchKey) {
        let watching = self.watches.get_mut(&key).expect("a watch that is gone cannot be level");
        watching.is_level = true;
        self.level.add(key, &watching.watch.range);
        if let Some(stream) = self.streams.get_mut(&watching.stream) {
            stream.behind.remove(&key);
        }
    }

    fn fall_behind(&mut self, key: WatchKey, next: Revision) {
        let watching = self.watches.get_mut(&key).expect("a watch that is gone cannot fall behind");
        watching.is_level = false;
        watching.next = next;
        if let Some(stream) = self.streams.get_mut(&watching.stream) {
            stream.behind.insert(key);
            if stream.queued_bytes < self.limits.queued_bytes_max {
                self.behind.insert((next, key));
            }
        }
    }

    fn forget(&mut self, key: WatchKey) {
        let Some(watching) = self.watches.remove(&key) else { return };
        self.prev_kv_wanted -= usize::from(watching.watch.prev_kv);
        self.level.remove(key, &watching.watch.range);
        self.behind.remove(&(watching.next, key));
        if let Some(stream) = self.streams.get_mut(&watching.stream) {
            stream.behind.remove(&key);
        }
        if self.watches.is_empty() {
            // The next watch comes with a history of its own.
            self.history.release();
        }
    }

    fn tell_events(&mut self, key: WatchKey, mut events: Vec<Arc<Event>>, revision: Revision) {
        if events.len() > 1 && self.mutants.has("watch_parts_a_revision") {
            let rest = events.split_off(1);
            self.tell_events(key, events, revision);
            return self.tell_events(key, rest, revision);
        }
        let watching = self.watches.get_mut(&key).expect("a watch that is gone is told nothing");
        watching.is_quiet = false;
        let Watching { stream, id, .. } = *watching;
        let Watch { prev_kv, fragment, .. } = watching.watch;
        self.tell(stream, Notice::Events { watch: id, events, revision, prev_kv, fragment });
    }

    fn tell(&mut self, stream: StreamId, notice: Notice) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.queued_bytes += notice.bytes();
            self.notices.push((stream, notice));
        }
    }
}
