//! Liveness: whether every fair run comes to what the model awaits; if not, a run that never does.
//!
//! There are two kinds of these. One is *stuck*: it ends in a state in which nothing is due any more (`cluster::fair`), and what is
//! awaited has not come. The other is a *lasso*: a way to some state, and a cycle that leads back to it, which the cluster
//! may follow for ever and be fair, while what is awaited doesn't come in it.
//!
//! All states that some run reaches are known by then, with all changes between them. Those are taken in which
//! something is awaited, each reached from one where that begins through none where it has come. Among them every cycle lies
//! within a strongly connected component; and a component holds a fair cycle if and only if going round through all of
//! its states and changes is fair: of all that is due in every one of its states, some change within does it. A larger
//! cycle is never less fair than a part of it, so no component needs to be taken apart.
//!
//! Bounds end runs that in truth go on. They are no counterexamples: a timer that is armed and has fired as often as it
//! may stays due, so no run can rest there; and a state outside the model's bounds is none to stay in. How many states lie at
//! such an edge, a report says ([`crate::report::Awaited::cut`]): if none does, what was found to come comes, without ifs.
//! Bounds on what is rare are another thing. They limit how often it happens, and it need never happen.
//!
//! Names of nodes are told apart: what is due at one node is not done by another, so two states that differ in names alone
//! are no cycle. The run that is shown is short but perhaps not a shortest one.

use std::collections::{BTreeMap, VecDeque};

use crate::cluster::fair::{Doer, Duty};
use crate::fingerprint::ByPrint;
use crate::node::{TIMERS_MAX, Timers};

/// What may be awaited: two bits of each are kept with every state.
pub(crate) const AWAITED_MAX: usize = 16;

/// A state that has no number: outside the bounds.
const OUTSIDE: u32 = u32::MAX;

/// What was seen of a state when it was explored.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) duties: Vec<Duty>,
    /// Its changes: the print of the state it leads to, and what is done.
    pub(crate) changes: Vec<(u64, Doer)>,
    /// Whether a timer is armed that may fire no more.
    pub(crate) is_cut: bool,
}

/// What a state says of what is awaited: two bits each, that it is awaited from here on and that it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs(u32);

impl Signs {
    pub(crate) fn new(each: impl Iterator<Item = (bool, bool)>) -> Self {
        let bits = |(at, (begins, comes)): (usize, (bool, bool))| {
            (u32::from(begins) | u32::from(comes) << 1) << (2 * at)
        };
        Signs(each.enumerate().map(bits).fold(0, |signs, bits| signs | bits))
    }

    fn begins(self, awaited: usize) -> bool {
        self.0 >> (2 * awaited) & 1 != 0
    }

    fn comes(self, awaited: usize) -> bool {
        self.0 >> (2 * awaited + 1) & 1 != 0
    }
}

/// A change between two states.
#[derive(Clone, Copy)]
struct Edge {
    to: u32,
    /// The number of the duty that is done, or [`OUTSIDE`].
    done: u32,
    node: u32,
    touched: Timers,
}

impl Edge {
    fn does(&self, duty: u32) -> bool {
        let timers = TIMERS_MAX as u32;
        let is_touched = || duty / timers == self.node && self.touched >> (duty % timers) & 1 != 0;
        self.done == duty || is_touched()
    }
}

/// Lists, one for each state, one behind the other.
struct Lists<T> {
    items: Vec<T>,
    ends: Vec<usize>,
}

impl<T> Lists<T> {
    fn push(&mut self, items: impl Iterator<Item = T>) {
        self.items.extend(items);
        self.ends.push(self.items.len());
    }

    fn of(&self, state: u32) -> &[T] {
        let at = state as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start..self.ends[at]]
    }
}

/// All states, by number, and the changes between them.
pub(crate) struct Graph {
    nodes: usize,
    /// The number of each state by its print.
    numbers: ByPrint<u32>,
    signs: Vec<Signs>,
    /// Of each state that was explored, by its number.
    edges: Lists<Edge>,
    duties: Lists<u32>,
    is_cut: Vec<bool>,
    /// Messages as duties, by their prints.
    deliveries: ByPrint<u32>,
}

/// How a run goes that never comes to what is awaited: the state to begin with, and changes from there on.
pub(crate) struct Run {
    pub(crate) from: u32,
    pub(crate) changes: Vec<u32>,
    /// The number of changes before the cycle. None: it is stuck.
    pub(crate) cycle: Option<usize>,
}

/// What came of looking for one thing that is awaited.
pub(crate) struct Outcome {
    /// The states in which it is awaited.
    pub(crate) pending: u64,
    /// Those of them from which runs go on beyond the bounds.
    pub(crate) cut: u64,
    pub(crate) run: Option<Run>,
}

impl Graph {
    pub(crate) fn new(nodes: usize) -> Self {
        Graph {
            nodes,
            numbers: ByPrint::default(),
            signs: Vec::new(),
            edges: Lists { items: Vec::new(), ends: Vec::new() },
            duties: Lists { items: Vec::new(), ends: Vec::new() },
            is_cut: Vec::new(),
            deliveries: ByPrint::default(),
        }
    }

    /// Takes a state that was found, the next by number.
    pub(crate) fn found(&mut self, print: u64, signs: Signs) {
        self.numbers.insert(print, self.signs.len() as u32);
        self.signs.push(signs);
    }

    /// Takes a state that was explored, the next by number. All that it leads to was found.
    pub(crate) fn explored(&mut self, noted: Noted) {
        let Noted { duties, changes, is_cut } = noted;
        let (nodes, deliveries) = (self.nodes, &mut self.deliveries);
        let mut number = |duty: Duty| -> u32 {
            match duty {
                Duty::Fire { node, timer } => (node * TIMERS_MAX + timer) as u32,
                Duty::Sync { node } => (nodes * TIMERS_MAX + node) as u32,
                Duty::Deliver(print) => {
                    let next = (nodes * (TIMERS_MAX + 1) + deliveries.len()) as u32;
                    *deliveries.entry(print).or_insert(next)
                }
            }
        };
        let edges = changes.into_iter().map(|(print, Doer { done, node, touched })| Edge {
            to: self.numbers.get(&print).copied().unwrap_or(OUTSIDE),
            done: done.map_or(OUTSIDE, &mut number),
            node: node as u32,
            touched,
        });
        self.edges.push(edges);
        self.duties.push(duties.into_iter().map(number));
        self.is_cut.push(is_cut);
    }

    /// Memory for states and changes.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = self.numbers.capacity() + self.deliveries.capacity();
        let states = self.signs.capacity() * size_of::<Signs>() + self.is_cut.capacity();
        let ends = (self.edges.ends.capacity() + self.duties.ends.capacity()) * size_of::<usize>();
        let items = self.edges.items.capacity() * size_of::<Edge>()
            + self.duties.items.capacity() * size_of::<u32>();
        numbers * (size_of::<(u64, u32)>() + 1) + states + ends + items
    }

    /// Looks for a fair run that never comes to what is awaited.
    pub(crate) fn judge(&self, awaited: usize) -> Outcome {
        let region = Region::new(self, awaited);
        let explored = || region.order.iter().copied().filter(|state| self.is_explored(*state));
        let is_cut = |state: &u32| {
            self.is_cut[*state as usize] || self.edges.of(*state).iter().any(|e| e.to == OUTSIDE)
        };
        let cut = explored().filter(is_cut).count() + region.order.len() - explored().count();
        let stuck = explored().find(|state| self.duties.of(*state).is_empty());
        let run = match stuck {
            Some(state) => {
                let (from, changes) = region.stem(state);
                Some(Run { from, changes, cycle: None })
            }
            None => region.lasso(),
        };
        Outcome { pending: region.order.len() as u64, cut: cut as u64, run }
    }

    fn is_explored(&self, state: u32) -> bool {
        (state as usize) < self.is_cut.len()
    }
}

/// How a state was reached for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Not at all.
    Never,
    /// Here it is awaited from.
    Begins,
    By {
        parent: u32,
        change: u32,
    },
}

/// The states in which something is awaited.
struct Region<'g> {
    graph: &'g Graph,
    came: Vec<Came>,
    /// In the order in which they were reached.
    order: Vec<u32>,
}

impl<'g> Region<'g> {
    fn new(graph: &'g Graph, awaited: usize) -> Self {
        let comes = |state: u32| graph.signs[state as usize].comes(awaited);
        let begins = |state: &u32| graph.signs[*state as usize].begins(awaited) && !comes(*state);
        let order: Vec<u32> = (0..graph.signs.len() as u32).filter(begins).collect();
        let mut region = Region { graph, came: vec![Came::Never; graph.signs.len()], order };
        region.order.iter().for_each(|state| region.came[*state as usize] = Came::Begins);
        let mut next = 0;
        while let Some(parent) = region.order.get(next).copied() {
            next += 1;
            if !graph.is_explored(parent) {
                continue;
            }
            for (Edge { to, .. }, change) in graph.edges.of(parent).iter().zip(0..) {
                if *to != OUTSIDE && !comes(*to) && region.came[*to as usize] == Came::Never {
                    region.came[*to as usize] = Came::By { parent, change };
                    region.order.push(*to);
                }
            }
        }
        region
    }

    /// How a state is reached: where it begins to be awaited, and the changes from there.
    fn stem(&self, mut state: u32) -> (u32, Vec<u32>) {
        let mut changes = Vec::new();
        while let Came::By { parent, change } = self.came[state as usize] {
            changes.push(change);
            state = parent;
        }
        changes.reverse();
        (state, changes)
    }

    /// The first lasso, by where its cycle is reached.
    fn lasso(&self) -> Option<Run> {
        let components = Components::new(self);
        let mut is_tried = vec![false; components.members.ends.len()];
        for state in &self.order {
            let component = components.of[*state as usize];
            if component == NONE || std::mem::replace(&mut is_tried[component as usize], true) {
                continue;
            }
            let cycles = Cycles { graph: self.graph, components: &components, component };
            if cycles.has_fair() {
                let (from, mut changes) = self.stem(*state);
                let cycle = Some(changes.len());
                changes.extend(cycles.fair(*state));
                return Some(Run { from, changes, cycle });
            }
        }
        None
    }
}

/// No component.
const NONE: u32 = u32::MAX;

/// The strongly connected components of a region that hold an edge.
struct Components {
    /// The component of each state, or [`NONE`].
    of: Vec<u32>,
    members: Lists<u32>,
}

impl Components {
    /// Tarjan, "Depth-first search and linear graph algorithms", 1972, with a stack of its own instead of recursion.
    fn new(region: &Region<'_>) -> Self {
        let Region { graph, came, order } = region;
        let count = came.len();
        let mut components = Components {
            of: vec![NONE; count],
            members: Lists { items: Vec::new(), ends: Vec::new() },
        };
        let is_inside =
            |to: u32| to != OUTSIDE && graph.is_explored(to) && came[to as usize] != Came::Never;
        // The time at which a state was entered, 0 if never; the earliest that it leads back to.
        let (mut entered, mut low) = (vec![0u32; count], vec![0u32; count]);
        let mut is_open = vec![false; count];
        let (mut open, mut path, mut time): (Vec<u32>, Vec<(u32, usize)>, u32) = Default::default();
        for root in order.iter().copied().filter(|state| is_inside(*state)) {
            if entered[root as usize] == 0 {
                path.push((root, 0));
            }
            while let Some((state, next)) = path.last_mut() {
                let at = *state as usize;
                if *next == 0 {
                    time += 1;
                    (entered[at], low[at], is_open[at]) = (time, time, true);
                    open.push(*state);
                }
                let edges = graph.edges.of(*state);
                if let Some(Edge { to, .. }) = edges.get(*next) {
                    *next += 1;
                    if is_inside(*to) && entered[*to as usize] == 0 {
                        path.push((*to, 0));
                    } else if is_inside(*to) && is_open[*to as usize] {
                        low[at] = low[at].min(entered[*to as usize]);
                    }
                    continue;
                }
                let state = *state;
                path.pop();
                if let Some((parent, _)) = path.last() {
                    let parent = *parent as usize;
                    low[parent] = low[parent].min(low[at]);
                }
                if low[at] == entered[at] {
                    let start = open.iter().rposition(|member| *member == state);
                    let members = open.split_off(start.expect("it is open"));
                    members.iter().for_each(|member| is_open[*member as usize] = false);
                    components.take(graph, members);
                }
            }
        }
        components
    }

    fn take(&mut self, graph: &Graph, members: Vec<u32>) {
        let is_cycle =
            members.len() > 1 || graph.edges.of(members[0]).iter().any(|e| e.to == members[0]);
        if is_cycle {
            let component = self.members.ends.len() as u32;
            members.iter().for_each(|member| self.of[*member as usize] = component);
            self.members.push(members.into_iter());
        }
    }
}

/// The cycles of one component.
struct Cycles<'a> {
    graph: &'a Graph,
    components: &'a Components,
    component: u32,
}

impl Cycles<'_> {
    fn edges(&self, state: u32) -> impl Iterator<Item = (u32, &Edge)> {
        let is_inside = |(_, edge): &(u32, &Edge)| {
            edge.to != OUTSIDE && self.components.of[edge.to as usize] == self.component
        };
        (0..).zip(self.graph.edges.of(state)).filter(is_inside)
    }

    fn is_due(&self, duty: u32, state: u32) -> bool {
        self.graph.duties.of(state).contains(&duty)
    }

    /// Whether going round through all states and changes is fair.
    fn has_fair(&self) -> bool {
        let members = self.components.members.of(self.component);
        let mut undone = self.graph.duties.of(members[0]).to_vec();
        for state in members {
            undone.retain(|duty| {
                self.is_due(*duty, *state) && !self.edges(*state).any(|(_, edge)| edge.does(*duty))
            });
            if undone.is_empty() {
                return true;
            }
        }
        false
    }

    /// The changes of a fair cycle from a state: to the nearest change that leaves less undone, until nothing is; and back.
    fn fair(&self, start: u32) -> Vec<u32> {
        let mut changes = Vec::new();
        let mut at = start;
        let mut undone = self.graph.duties.of(start).to_vec();
        while !undone.is_empty() {
            let is_less = |edge: &Edge| {
                undone.iter().any(|duty| edge.does(*duty) || !self.is_due(*duty, edge.to))
            };
            for (change, edge) in self.way(at, is_less) {
                undone.retain(|duty| !edge.does(*duty) && self.is_due(*duty, edge.to));
                changes.push(change);
                at = edge.to;
            }
        }
        if at != start || changes.is_empty() {
            changes.extend(self.way(at, |edge| edge.to == start).into_iter().map(|(c, _)| c));
        }
        changes
    }

    /// The shortest way from a state that ends with a certain change.
    fn way(&self, from: u32, is_wanted: impl Fn(&Edge) -> bool) -> Vec<(u32, Edge)> {
        let mut came: BTreeMap<u32, (u32, u32, Edge)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(state) = queue.pop_front() {
            for (change, edge) in self.edges(state) {
                if is_wanted(edge) {
                    let mut way = vec![(change, *edge)];
                    let mut at = state;
                    while at != from {
                        let (parent, change, edge) = came[&at];
                        way.push((change, edge));
                        at = parent;
                    }
                    way.reverse();
                    return way;
                }
                if edge.to != from && !came.contains_key(&edge.to) {
                    came.insert(edge.to, (state, change, *edge));
                    queue.push_back(edge.to);
                }
            }
        }
        unreachable!("within a component every change can be reached from every state")
    }
}
