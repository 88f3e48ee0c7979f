//! The simulation: takes the next event, and lets the node it concerns have its turn.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_core::{Host, Input, NodeId, Protocol};
use quorate_trace::{MessageId, StepLog, Why};

use crate::disk::{Recovery, SimDisk, SyncEnd};
use crate::failure::{Broken, Failure, Report, Rule};
use crate::network::Network;
use crate::node::{Event, Letter, NodeWorld, Process, Shared, Waiting};
use crate::plan::{Plan, purpose};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::seeds::panicked_at;
use crate::time::Time;
use crate::trace::{Describe, Digest, Trace};
use crate::wire::Wire;
use crate::workload::{Clients, Cluster, Workload};

/// The most events of one instant. More are taken for a cluster that will never let time pass.
const EVENTS_PER_INSTANT_MAX: u64 = 1_000_000;

/// A cluster of one protocol, on simulated disks, under one workload, for one run.
pub struct Simulation<P: Protocol, D, W> {
    pub(crate) plan: Plan,
    configs: Vec<P::Config>,
    pub(crate) hosts: Vec<Option<Host<P>>>,
    pub(crate) processes: Vec<Process<P>>,
    pub(crate) disks: Vec<D>,
    pub(crate) shared: Shared<P>,
    pub(crate) workload: W,
    steps: u64,
}

/// What is left of a run.
pub struct Outcome<W> {
    /// Whether everything held.
    pub result: Result<Report, Failure>,
    /// What happened, if it was traced. See [`Simulation::tracing`].
    pub trace: Option<StepLog>,
    /// The workload, with what it saw.
    pub workload: W,
}

impl<P, D, W> Simulation<P, D, W>
where
    P: Protocol,
    P::Message: Clone,
    D: SimDisk<P>,
    W: Workload<P>,
{
    /// Sets up a run of that plan. There must be one configuration for each of the plan's nodes, n1's first.
    pub fn new(
        plan: Plan,
        configs: Vec<P::Config>,
        mut disk: impl FnMut(NodeId) -> D,
        workload: W,
    ) -> Self {
        let nodes = plan.bounds.nodes;
        assert!(nodes > 0, "a simulation needs a node");
        assert_eq!(configs.len(), nodes, "a configuration for each node");
        let seed = plan.replay.seed;
        let mut clocks = Rng::for_purpose(seed, purpose::CLOCKS);
        let drift = u64::from(plan.mix.drift.0);
        let processes: Vec<Process<P>> = (0..nodes as u32)
            .map(|place| Process::new(place, 1_000_000 - drift + clocks.below(2 * drift + 1)))
            .collect();
        let shared = Shared {
            now: Time::ZERO,
            queue: Queue::new(),
            rng: plan.luck(),
            workload_rng: Rng::for_purpose(seed, purpose::WORKLOAD),
            network: Network::new(nodes, plan.mix.network.clone()),
            mix: plan.mix.clone(),
            counters: Default::default(),
            digest: Digest::default(),
            trace: None,
            wire: None,
            replies: VecDeque::new(),
            faults: plan.faults.clone(),
            inflicted: 0,
            requests: 0,
            tokens: 0,
            is_healed: false,
            ruined: Default::default(),
        };
        Simulation {
            disks: processes.iter().map(|process| disk(process.id())).collect(),
            hosts: (0..nodes).map(|_| None).collect(),
            plan,
            configs,
            processes,
            shared,
            workload,
            steps: 0,
        }
    }

    /// Keeps a log of the run's steps, which marks the step after which a rule was found broken.
    pub fn tracing(mut self, describe: Describe<P>) -> Self {
        self.shared.trace = Some(Trace::new(describe, self.plan.bounds.nodes));
        self
    }

    /// Has messages look like this on their way, if the plan's mix says that they are encoded.
    pub fn over(mut self, wire: impl Wire<P> + 'static) -> Self {
        if self.plan.mix.wire {
            self.shared.wire = Some(Box::new(wire));
        }
        self
    }

    /// Runs to the end, or to the first rule that is broken. A panic of the protocol or of the workload is a failure
    /// of this run.
    pub fn run(mut self) -> Outcome<W> {
        let played = catch_unwind(AssertUnwindSafe(|| self.play())).unwrap_or_else(|panic| {
            Err(Broken { rule: Rule::Assertion, what: panic_message(panic.as_ref()) })
        });
        let result = match played {
            Ok(()) => Ok(Report {
                seed: self.plan.replay.seed,
                digest: self.shared.digest,
                judged: self.shared.now.since_start(),
                counters: self.shared.counters,
            }),
            Err(broken) => Err(Failure::new(&self.plan, self.shared.now, broken)),
        };
        let trace = self.shared.trace.map(|mut trace| {
            if let Err(failure) = &result {
                let log = trace.at(failure.at);
                if failure.rule == Rule::Verdict {
                    log.note("the run is over, and what clients saw is judged");
                }
                log.fail(&failure.rule.to_string(), &failure.what);
            }
            trace.log
        });
        Outcome { result, trace, workload: self.workload }
    }

    fn play(&mut self) -> Result<(), Broken> {
        for place in 0..self.plan.bounds.nodes {
            self.boot(place)?;
        }
        for (fault, scheduled) in (0..).zip(&self.plan.faults) {
            self.shared.queue.schedule(scheduled.at, Event::Strike { fault });
        }
        self.shared.queue.schedule(self.plan.heals_at(), Event::Heal);
        self.clients(|workload, clients| workload.start(clients));
        let end = self.plan.ends_at();
        let mut in_this_instant = 0u64;
        while !(self.shared.is_healed && self.workload.is_done()) {
            let Some((at, event)) = self.shared.queue.pop() else { break };
            if at > end {
                self.shared.now = end;
                break;
            }
            in_this_instant = if at == self.shared.now { in_this_instant + 1 } else { 0 };
            if in_this_instant > EVENTS_PER_INSTANT_MAX {
                let what = format!("more than {EVENTS_PER_INSTANT_MAX} events in one instant");
                return Err(Broken { rule: Rule::Time, what });
            }
            self.shared.now = at;
            self.shared.counters.events += 1;
            self.handle(event)?;
            if self.shared.ruined.is_to_mend {
                self.mend()?;
            }
        }
        let cluster = Cluster { now: self.shared.now, hosts: &self.hosts };
        let verdict = self.workload.verdict(&cluster);
        verdict.map_err(|what| Broken { rule: Rule::Verdict, what })
    }

    fn handle(&mut self, event: Event<P>) -> Result<(), Broken> {
        match event {
            Event::Arrive(letter) => self.arrive(letter),
            Event::Hint { node, peer } => self.put(node, Waiting::Lost { peer }),
            Event::Expire { node, boot, token, timer } => self.expire(node, boot, token, timer),
            Event::Turn { node, boot } if self.is_current(node, boot) => {
                self.processes[node as usize].has_turn = false;
                self.turn(node as usize)
            }
            Event::SyncEnds { node, boot } if self.is_current(node, boot) => {
                self.end_sync(node as usize)
            }
            Event::Resume { node, boot } if self.is_current(node, boot) => {
                self.resume(node as usize);
                Ok(())
            }
            Event::Crash { node, boot, down } if self.is_current(node, boot) => {
                if !self.shared.is_healed {
                    self.crash(node as usize, down);
                }
                Ok(())
            }
            Event::Boot { node, boot } => {
                let process = &self.processes[node as usize];
                if process.boot == boot && !process.is_up {
                    self.boot(node as usize)
                } else {
                    Ok(())
                }
            }
            Event::Turn { .. }
            | Event::SyncEnds { .. }
            | Event::Resume { .. }
            | Event::Crash { .. } => Ok(()),
            Event::Strike { fault } => {
                self.strike(fault);
                Ok(())
            }
            Event::Cease { fault } => {
                self.cease(fault);
                Ok(())
            }
            Event::Flap { fault, is_cut, until } => {
                self.flap(fault, is_cut, until);
                Ok(())
            }
            Event::Wake { token } => {
                self.shared.digest.add(token);
                self.clients(|workload, clients| workload.wake(token, clients));
                Ok(())
            }
            Event::Heal => {
                self.heal();
                Ok(())
            }
        }
    }

    fn is_current(&self, node: u32, boot: u32) -> bool {
        let process = &self.processes[node as usize];
        process.boot == boot && process.is_up
    }

    #[inline]
    fn arrive(&mut self, mut letter: Letter<P>) -> Result<(), Broken> {
        let Letter { from, to, connection, id, .. } = letter;
        if !self.processes[to as usize].is_up {
            self.shared.counters.undeliverable += 1;
            self.shared.log(|log| log.lose(id, Why::Down));
            return Ok(());
        }
        if !self.shared.network.arrives(from as usize, to as usize, connection) {
            self.shared.counters.cut += 1;
            self.shared.log(|log| log.lose(id, Why::Cut));
            return Ok(());
        }
        let message = match letter.parcel.take() {
            None => letter.message,
            Some(parcel) => match self.read(letter, *parcel)? {
                Some(message) => message,
                None => return Ok(()),
            },
        };
        self.put(to, Waiting::Message { from, id, message })
    }

    /// Hands a node something to take at its next turn, which may be at once.
    fn put(&mut self, node: u32, waiting: Waiting<P>) -> Result<(), Broken> {
        let process = &mut self.processes[node as usize];
        if !process.is_up {
            return Ok(());
        }
        process.inbox.push_back(waiting);
        if process.rouse_now(&mut self.shared) { self.turn(node as usize) } else { Ok(()) }
    }

    fn expire(&mut self, node: u32, boot: u32, token: u64, timer: P::Timer) -> Result<(), Broken> {
        let process = &mut self.processes[node as usize];
        let Some(armed) = process.timers.get(&timer) else { return Ok(()) };
        let (Some(due), true) = (armed.due, process.boot == boot && armed.token == token) else {
            return Ok(());
        };
        process.expired.insert((due, token), timer);
        if process.rouse_now(&mut self.shared) { self.turn(node as usize) } else { Ok(()) }
    }

    /// One round of a node's event loop: what has arrived, then what is due, then the disk.
    fn turn(&mut self, place: usize) -> Result<(), Broken> {
        let process = &self.processes[place];
        if process.is_blocked || process.paused_until > self.shared.now {
            return Ok(());
        }
        let inputs = process.inbox.len().min(self.shared.mix.batch_max);
        if inputs > 1 {
            self.shared.counters.batches += 1;
        }
        for _ in 0..inputs {
            let Some(waiting) = self.processes[place].inbox.pop_front() else { break };
            self.take(place, waiting)?;
        }
        // Word of a deadline of this very instant has come already: timers are set in turns, before the next turn is
        // scheduled, and events of one instant come in the order of their scheduling.
        for _ in 0..self.processes[place].expired.len() {
            let Some(((_, token), timer)) = self.processes[place].expired.pop_first() else {
                break;
            };
            self.fire(place, timer, token)?;
        }
        // After every deadline that has passed, as in production. Those of no delay that were armed by inputs or by
        // deadlines are among these; those that are armed by each other wait for the next turn.
        for _ in 0..self.processes[place].at_end.len() {
            let Some((timer, token)) = self.processes[place].at_end.pop_front() else { break };
            self.fire(place, timer, token)?;
        }
        self.after_turn(place)
    }

    /// Fires a timer that has run out, unless it was unset or set anew.
    fn fire(&mut self, place: usize, timer: P::Timer, token: u64) -> Result<(), Broken> {
        if !self.processes[place].runs_out(&timer, token) {
            return Ok(());
        }
        self.shared.counters.fired += 1;
        self.step(place, Input::Fire(timer), MessageId::default())
    }

    fn take(&mut self, place: usize, waiting: Waiting<P>) -> Result<(), Broken> {
        let input = match waiting {
            Waiting::Message { from, id, message } => {
                self.shared.counters.delivered += 1;
                let from = NodeId(u64::from(from) + 1);
                return self.step(place, Input::Deliver { from, message }, id);
            }
            Waiting::Ask { id, request } => Input::Ask { id, request },
            Waiting::Lost { peer } => {
                self.shared.counters.hints += 1;
                Input::Lost { peer }
            }
            Waiting::Synced { upto } => Input::Synced { upto },
        };
        self.step(place, input, MessageId::default())
    }

    /// Gives a host one input, and the workload what became of it. A message has a name in the trace.
    #[inline]
    fn step(&mut self, place: usize, input: Input<P>, message: MessageId) -> Result<(), Broken> {
        let Some(host) = &mut self.hosts[place] else { return Ok(()) };
        let process = &mut self.processes[place];
        let id = process.id();
        let (kind, number) = match &input {
            Input::Deliver { from, .. } => (1, from.0),
            Input::Fire(_) => (2, 0),
            Input::Ask { id, .. } => (3, id.0),
            Input::Lost { peer } => (4, peer.0),
            Input::Synced { upto } => (5, *upto),
        };
        self.shared.counters.steps += 1;
        self.shared.digest.add(self.shared.now.0);
        self.shared.digest.add(id.0 << 40 ^ kind << 32 ^ number);
        if let Some(trace) = &mut self.shared.trace {
            trace.input(self.shared.now, id, &input, message);
        }
        let (shared, disk) = (&mut self.shared, &mut self.disks[place]);
        let mut world = NodeWorld { process, disk, shared, refused: None };
        let config = &self.configs[place];
        match input {
            Input::Synced { upto } => host.synced(config, upto, &mut world),
            input => host.step(config, input, &mut world),
        }
        refused::<P, D>(id, world.refused)?;
        if let Some(trace) = &mut self.shared.trace {
            trace.log.view(id, &host.state().view());
        }
        self.after_step(id)
    }

    fn after_step(&mut self, id: NodeId) -> Result<(), Broken> {
        while let Some((node, request, response)) = self.shared.replies.pop_front() {
            if !self.processes[node.0 as usize - 1].outstanding.remove(&request) {
                let what = format!(
                    "{node} answers {request}, which it has answered before or was not asked since its boot"
                );
                return Err(Broken { rule: Rule::Answer, what });
            }
            self.shared.counters.answered += 1;
            self.clients(|workload, clients| workload.reply(node, request, response, clients));
        }
        self.clients(|workload, clients| workload.stepped(id, clients));
        self.steps += 1;
        if self.steps.is_multiple_of(u64::from(self.plan.bounds.invariant_every.max(1))) {
            let cluster = Cluster { now: self.shared.now, hosts: &self.hosts };
            let held = self.workload.invariant(id, &cluster);
            held.map_err(|what| Broken { rule: Rule::Invariant, what })?;
        }
        Ok(())
    }

    /// Boots a node from what its disk has.
    fn boot(&mut self, place: usize) -> Result<(), Broken> {
        let id = self.processes[place].id();
        self.disks[place].write_as(self.processes[place].version);
        let recovery = self.disks[place].recover().map_err(|error| Broken {
            rule: Rule::Disk,
            what: format!("{id} cannot boot from its disk: {error}"),
        })?;
        let (durable, last, loss) = match recovery {
            Recovery::Found { durable, last, loss } => (durable, last, loss),
            Recovery::Refused { why } => {
                self.refuse_boot(place, &why);
                return Ok(());
            }
        };
        self.note_loss(id, loss);
        let process = &mut self.processes[place];
        process.is_up = true;
        self.shared.digest.add(id.0 << 40 ^ 6 << 32 ^ u64::from(process.boot));
        let is_first = process.boot == 0;
        self.shared.log(|log| log.boot(id, last));
        let (shared, disk) = (&mut self.shared, &mut self.disks[place]);
        let mut world = NodeWorld { process, disk, shared, refused: None };
        let host = Host::boot(&self.configs[place], durable, last, &mut world);
        refused::<P, D>(id, world.refused)?;
        if let Some(trace) = &mut self.shared.trace {
            trace.log.view(id, &host.state().view());
        }
        self.hosts[place] = Some(host);
        self.after_step(id)?;
        self.after_turn(place)?;
        if !is_first {
            self.shared.counters.restarts += 1;
            self.clients(|workload, clients| workload.booted(id, clients));
        }
        if let Some(loss) = loss {
            self.clients(|workload, clients| workload.lost_memory(id, loss, clients));
        }
        Ok(())
    }

    /// Begins a sync if there is something to make durable, and has the node take what has come in meanwhile.
    fn after_turn(&mut self, place: usize) -> Result<(), Broken> {
        let Some(host) = &self.hosts[place] else { return Ok(()) };
        let process = &mut self.processes[place];
        let shared = &mut self.shared;
        if host.persisted() > host.durable() && process.syncing.is_none() {
            self.disks[place].begin_sync().map_err(|error| disk_failed(process.id(), error))?;
            process.syncing = Some(host.persisted());
            process.is_blocked = shared.mix.disk.inline;
            let mut delay = shared.rng.duration(&shared.mix.disk.sync);
            if shared.rng.happens(shared.mix.disk.stall) {
                shared.counters.stalls += 1;
                delay += shared.rng.duration(&shared.mix.disk.stall_delay);
            }
            let (node, boot) = (process.place, process.boot);
            shared.queue.schedule(shared.now + delay, Event::SyncEnds { node, boot });
            if let Some((until, down)) = process.ambush.take()
                && shared.now <= until
            {
                let at = shared.now + shared.rng.duration(&(Default::default()..delay));
                shared.queue.schedule(at, Event::Crash { node, boot, down });
            }
        }
        if process.has_work() {
            process.rouse(shared);
        }
        Ok(())
    }

    fn end_sync(&mut self, place: usize) -> Result<(), Broken> {
        let process = &mut self.processes[place];
        if process.stalled_until > self.shared.now {
            let (node, boot) = (process.place, process.boot);
            self.shared.queue.schedule(process.stalled_until, Event::SyncEnds { node, boot });
            return Ok(());
        }
        let Some(upto) = process.syncing else { return Ok(()) };
        let end = self.disks[place].end_sync().map_err(|error| disk_failed(process.id(), error))?;
        match end {
            SyncEnd::Durable => {}
            SyncEnd::Full => {
                self.put_off_sync(place);
                return Ok(());
            }
            SyncEnd::Failed => {
                let down = process.down_after_failure;
                self.shared.counters.syncs_failed += 1;
                self.crash(place, down);
                return Ok(());
            }
        }
        process.syncing = None;
        self.shared.counters.syncs += 1;
        process.is_blocked = false;
        if self.shared.mix.disk.inline {
            // A loop that waits for its disk lets go what waited before it looks at anything else.
            process.inbox.push_front(Waiting::Synced { upto });
        } else {
            process.inbox.push_back(Waiting::Synced { upto });
        }
        if process.rouse_now(&mut self.shared) { self.turn(place) } else { Ok(()) }
    }

    /// Lets the workload act.
    pub(crate) fn clients(&mut self, act: impl FnOnce(&mut W, &mut Clients<'_, P>)) {
        let mut clients = Clients {
            hosts: &self.hosts,
            processes: &mut self.processes,
            shared: &mut self.shared,
        };
        act(&mut self.workload, &mut clients);
    }
}

pub(crate) fn disk_failed(node: NodeId, error: impl std::fmt::Display) -> Broken {
    Broken { rule: Rule::Disk, what: format!("the disk of {node} failed: {error}") }
}

fn refused<P: Protocol, D: SimDisk<P>>(
    node: NodeId,
    refused: Option<D::Error>,
) -> Result<(), Broken> {
    refused.map_or(Ok(()), |error| Err(disk_failed(node, error)))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref().cloned());
    let words = words.unwrap_or_else(|| "a panic without words".to_owned());
    panicked_at().map_or(words.clone(), |place| format!("{words} ({place})"))
}
