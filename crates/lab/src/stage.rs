//! An exhibit in the simulator: its clients, its judges, and a run of it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use quorate_core::{NodeId, Protocol, RequestId};
use quorate_explore::Explored;
use quorate_sim::{Clients, Cluster, Counters, Describe, RecordDisk, Rule, Simulation, Workload};
use quorate_trace::{Label, StepLog};

use crate::exhibit::{Asking, Broken, Exhibit, Members};
use crate::setup::Setup;

/// How long a client waits with a request for a node that is down.
const RETRY: Duration = Duration::from_millis(20);

/// What came of a run.
pub struct Ran {
    /// Whether every claim held.
    pub result: Result<(), Broken>,
    /// When a claim was found broken, or the end of the run, in virtual time.
    pub ended_at: Duration,
    /// When all had happened that was to happen, if it did.
    pub settled_at: Option<Duration>,
    /// What happened.
    pub counters: Counters,
    /// What the row measures, and `messages` and `settled_ms` when it has settled.
    pub measures: Vec<(&'static str, f64)>,
    /// Every step, if the run was traced.
    pub log: Option<StepLog>,
}

impl Ran {
    /// A measure by its name.
    pub fn measure(&self, name: &str) -> Option<f64> {
        self.measures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// Runs an exhibit once. The same setup gives the same run.
pub(crate) fn run<E: Exhibit>(exhibit: E, setup: &Setup, is_traced: bool) -> Ran {
    let command = format!("quorate lab run {} '{setup}'", E::ABOUT.name);
    let configs = setup.ids().map(|node| exhibit.config(node)).collect();
    let stage = Stage {
        nodes: setup.nodes,
        requests: setup.requests,
        lasts: Duration::from_millis(setup.lasts_ms),
        asks: setup.asks.clone(),
        exhibit,
        history: E::History::default(),
        asked: 0,
        broken: None,
        settled: None,
        measures: Vec::new(),
        counters: Counters::default(),
    };
    let simulation = Simulation::new(setup.plan(command), configs, |_| RecordDisk::new(), stage);
    let simulation = if is_traced { simulation.tracing(E::describe()) } else { simulation };
    let outcome = simulation.run();
    let stage = outcome.workload;
    let (result, ended_at) = match outcome.result {
        Ok(report) => (Ok(()), report.judged),
        Err(failure) => {
            let broken = match failure.rule {
                Rule::Invariant | Rule::Verdict => {
                    stage.broken.unwrap_or_else(|| Broken::read(&failure.what))
                }
                rule => Broken::new(&rule.to_string(), failure.what),
            };
            (Err(broken), failure.at.since_start())
        }
    };
    let mut log = outcome.trace;
    if let (Some(log), Err(broken)) = (&mut log, &result) {
        broken.tell(log, &E::ABOUT);
    }
    let settled_at = stage.settled.map(|(at, _)| at);
    let mut measures = stage.measures;
    if let Some((at, messages)) = stage.settled {
        measures.push(("messages", messages as f64));
        measures.push(("settled_ms", at.as_secs_f64() * 1e3));
    }
    Ran { result, ended_at, settled_at, counters: stage.counters, measures, log }
}

/// How a protocol's words look in a trace: as they print, with nodes by their short names.
pub(crate) fn printed<P: Explored>() -> Describe<P> {
    Describe {
        message: |message| label(message),
        timer: |timer| label(timer),
        record: |record| label(record),
        request: |request| label(request),
        response: |response| label(response),
    }
}

/// What prints, in words.
fn label(what: &impl Debug) -> Label {
    let mut text = String::new();
    let printed = format!("{what:?}");
    let mut rest = printed.as_str();
    while let Some((before, after)) = rest.split_once("NodeId(") {
        let (id, after) = after.split_once(')').unwrap_or((after, ""));
        text.push_str(before);
        text.push('n');
        text.push_str(id);
        rest = after;
    }
    text.push_str(rest);
    Label::new(&text)
}

/// An exhibit's clients and judges.
struct Stage<E: Exhibit> {
    exhibit: E,
    nodes: u64,
    requests: u32,
    lasts: Duration,
    /// Requests at set times: when, of whom, and which.
    asks: Vec<(Duration, NodeId, usize)>,
    history: E::History,
    asked: u32,
    broken: Option<Broken>,
    /// When all had happened that was to happen, and how many messages that took.
    settled: Option<(Duration, u64)>,
    measures: Vec<(&'static str, f64)>,
    counters: Counters,
}

fn members<'a, P: Protocol, T>(
    cluster: &Cluster<'a, P>,
    count: u64,
    look: impl FnOnce(&Members<'_, P>) -> T,
) -> T {
    look(&Members { count, of: &|node| cluster.state(node) })
}

impl<E: Exhibit> Stage<E> {
    fn ask(&mut self, clients: &mut Clients<'_, E::Protocol>, token: u64) {
        let now = clients.now().since_start();
        let mut asking = Asking { asked: self.asked, now, nodes: self.nodes, rng: clients.rng() };
        let next = match self.asks.get(token as usize) {
            None => self.exhibit.ask(&mut asking),
            Some((_, node, which)) => {
                let request = self.exhibit.requests(self.asked, *node).into_iter().nth(*which);
                request.map(|request| (*node, request))
            }
        };
        let Some((node, request)) = next else {
            self.asked += 1;
            return;
        };
        match clients.ask(node, request.clone()) {
            Some(id) => {
                self.asked += 1;
                self.exhibit.asked(node, id, &request, &mut self.history);
            }
            None => clients.wake_after(RETRY, token),
        }
    }

    /// What had settled may be unsettled by a crash.
    fn look_whether_settled(&mut self, cluster: &Cluster<'_, E::Protocol>) {
        let is_settled = self.asked >= self.requests
            && members(cluster, self.nodes, |members| {
                self.exhibit.settled(members, &self.history).is_ok()
            });
        if !is_settled {
            self.settled = None;
        } else if self.settled.is_none() {
            self.settled = Some((cluster.now().since_start(), self.counters.sent));
        }
    }

    fn judge<T>(&mut self, judged: Result<T, Broken>) -> Result<T, String> {
        judged.map_err(|broken| {
            let printed = broken.to_string();
            self.broken = Some(broken);
            printed
        })
    }
}

impl<E: Exhibit> Workload<E::Protocol> for Stage<E> {
    fn start(&mut self, clients: &mut Clients<'_, E::Protocol>) {
        for ((at, _, _), token) in self.asks.iter().zip(0..) {
            clients.wake_after(*at, token);
        }
        if !self.asks.is_empty() {
            return;
        }
        for token in 0..u64::from(self.requests) {
            let after = clients.rng().duration(&(Duration::ZERO..self.lasts));
            // The first comes at once, so that a run of one request shows what it costs.
            clients.wake_after(if token == 0 { Duration::ZERO } else { after }, token);
        }
    }

    fn wake(&mut self, token: u64, clients: &mut Clients<'_, E::Protocol>) {
        self.ask(clients, token);
    }

    fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: <E::Protocol as Protocol>::Response,
        _: &mut Clients<'_, E::Protocol>,
    ) {
        if let Err(broken) = self.exhibit.answered(node, id, &response, &mut self.history) {
            self.broken.get_or_insert(broken);
        }
    }

    fn crashed(
        &mut self,
        node: NodeId,
        orphans: &BTreeSet<RequestId>,
        _: &mut Clients<'_, E::Protocol>,
    ) {
        self.exhibit.crashed(node, orphans, &mut self.history);
    }

    fn stepped(&mut self, _: NodeId, clients: &mut Clients<'_, E::Protocol>) {
        self.counters = *clients.counters();
    }

    fn booted(&mut self, _: NodeId, clients: &mut Clients<'_, E::Protocol>) {
        self.look_whether_settled(&clients.cluster());
    }

    fn healed(&mut self, clients: &mut Clients<'_, E::Protocol>) {
        self.look_whether_settled(&clients.cluster());
    }

    fn invariant(
        &mut self,
        stepped: NodeId,
        cluster: &Cluster<'_, E::Protocol>,
    ) -> Result<(), String> {
        let answered = self.broken.take().map_or(Ok(()), Err);
        let judged = answered.and_then(|()| {
            members(cluster, self.nodes, |members| {
                self.exhibit.observe(members, stepped, &mut self.history)
            })
        });
        // Only once history has taken note of the step.
        if judged.is_ok() {
            self.look_whether_settled(cluster);
        }
        self.judge(judged)
    }

    fn is_done(&self) -> bool {
        self.settled.is_some()
    }

    fn verdict(&mut self, cluster: &Cluster<'_, E::Protocol>) -> Result<(), String> {
        let (settled, measures) = members(cluster, self.nodes, |members| {
            let settled = self.exhibit.settled(members, &self.history);
            (settled, self.exhibit.measures(members, &self.history))
        });
        self.measures = measures;
        self.judge(settled)
    }
}
