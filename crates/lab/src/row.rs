//! A row of the catalogue, whatever its protocol: what the command line, the page and the tests speak to.

use std::marker::PhantomData;
use std::ops::Range;

use quorate_core::LabMutants;
use quorate_explore::Progress;
use quorate_sim::seeds::quietly;

use crate::about::About;
use crate::exhibit::{Broken, Exhibit};
use crate::explored::{self, Found};
use crate::refusal::{Refusal, nearest};
use crate::scenario::Scenario;
use crate::setup::Setup;
use crate::stage::{self, Ran};

/// A row of the catalogue.
pub trait Row: Sync {
    /// What it says of itself.
    fn about(&self) -> &'static About;

    /// Its usual setup.
    fn setup(&self) -> Setup;

    /// Whether it can be run with that setup. Nothing is run.
    fn check(&self, setup: &Setup) -> Result<(), Refusal>;

    /// Runs it once. The same setup gives the same run.
    fn run(&self, setup: &Setup, is_traced: bool) -> Result<Ran, Refusal>;

    /// Within what it is explored, in a few words each.
    fn scopes(&self) -> Vec<&'static str>;

    /// The claim that each of its scopes must break, where there is one.
    fn boundaries(&self) -> Vec<Option<&'static str>>;

    /// Explores it within one of its scopes, counted from 1, with the mutant that is named. `go_on` is told of the progress
    /// and may end it.
    fn explore(
        &self,
        scope: usize,
        mutant: Option<&str>,
        limits: Limits,
        go_on: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Found, Refusal>;

    /// What one request costs in a cluster of so many nodes. See [`Exhibit::cost`].
    fn cost(&self, nodes: u64) -> Option<(f64, u64)>;
}

impl dyn Row + '_ {
    /// Its usual setup, changed by words as [`Setup::read`] takes them.
    pub fn setup_with(&self, words: &str) -> Result<Setup, Refusal> {
        self.setup().read(words, self.about())
    }

    /// The same, from the usual setup without what goes wrong by chance: what scenarios, costs and curves begin with.
    pub fn calm_setup_with(&self, words: &str) -> Result<Setup, Refusal> {
        self.setup().calm().read(words, self.about())
    }

    /// A scenario by its name.
    pub fn scenario(&self, name: &str) -> Result<&'static Scenario, Refusal> {
        let scenarios = self.about().scenarios;
        scenarios.iter().find(|scenario| scenario.name == name).ok_or_else(|| Refusal::Scenario {
            row: self.about().name,
            name: name.to_owned(),
            hint: nearest(name, scenarios.iter().map(|scenario| scenario.name)),
        })
    }

    /// The first of some seeds with which a claim breaks, that one or any, and how; none if there is no such seed.
    pub fn first_broken(
        &self,
        setup: &Setup,
        seeds: Range<u64>,
        claim: Option<&str>,
    ) -> Result<Option<(u64, Broken)>, Refusal> {
        for seed in seeds {
            let ran = quietly(|| self.run(&Setup { seed, ..setup.clone() }, false))?;
            let broken = ran.result.err();
            if let Some(broken) = broken.filter(|it| claim.is_none_or(|claim| it.claim == claim)) {
                return Ok(Some((seed, broken)));
            }
        }
        Ok(None)
    }
}

/// How far an exploration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// On so many threads.
    pub threads: usize,
    /// No more states than about so many.
    pub states_max: Option<u64>,
}

/// An exhibit as a row.
pub struct Shelf<E>(PhantomData<fn() -> E>);

impl<E: Exhibit> Shelf<E> {
    const ABOUT: &'static About = &E::ABOUT;

    /// The row of that exhibit.
    pub const NEW: Shelf<E> = Shelf(PhantomData);

    fn exhibit(setup: &Setup) -> Result<E, Refusal> {
        let struck = setup.faults.iter().flat_map(|(_, fault)| strikes(fault));
        let asked = setup.asks.iter().map(|(_, node, _)| node.0);
        if let Some(node) = struck.chain(asked).find(|node| *node > setup.nodes) {
            return Err(Refusal::NoSuchNode { node, nodes: setup.nodes });
        }
        let mutants = match &setup.mutant {
            None => LabMutants::NONE,
            Some(name) => match E::ABOUT.mutant(name) {
                Some(mutant) => LabMutants::only(mutant.name),
                None => {
                    let names = E::ABOUT.mutants.iter().map(|mutant| mutant.name);
                    return Err(Refusal::Mutant { name: name.clone(), hint: nearest(name, names) });
                }
            },
        };
        E::new(setup, mutants).map_err(Refusal::Bound)
    }
}

/// The nodes that a fault names.
fn strikes(fault: &quorate_sim::Fault) -> Vec<u64> {
    use quorate_sim::Fault;
    match fault {
        Fault::Crash { node, .. } | Fault::Pause { node, .. } | Fault::ClockJump { node, .. } => {
            vec![node.0]
        }
        Fault::Partition { side, .. } | Fault::OneWay { unheard: side, .. } => {
            side.iter().map(|node| node.0).collect()
        }
        Fault::Flap { ends: (a, b), .. } => vec![a.0, b.0],
        _ => Vec::new(),
    }
}

impl<E: Exhibit> Row for Shelf<E> {
    fn about(&self) -> &'static About {
        Self::ABOUT
    }

    fn setup(&self) -> Setup {
        E::setup()
    }

    fn check(&self, setup: &Setup) -> Result<(), Refusal> {
        Self::exhibit(setup).map(|_| ())
    }

    fn run(&self, setup: &Setup, is_traced: bool) -> Result<Ran, Refusal> {
        Ok(stage::run(Self::exhibit(setup)?, setup, is_traced))
    }

    fn scopes(&self) -> Vec<&'static str> {
        E::scopes().iter().map(|scope| scope.what).collect()
    }

    fn boundaries(&self) -> Vec<Option<&'static str>> {
        E::scopes().iter().map(|scope| scope.breaks).collect()
    }

    fn explore(
        &self,
        scope: usize,
        mutant: Option<&str>,
        limits: Limits,
        go_on: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Found, Refusal> {
        let mut scopes = E::scopes();
        let refused = Refusal::Scope { row: E::ABOUT.name, count: scopes.len(), wanted: scope };
        let place = scope.checked_sub(1).filter(|place| *place < scopes.len()).ok_or(refused)?;
        let scope = scopes.swap_remove(place);
        let mut setup = self.setup().read(scope.setup, Self::ABOUT)?;
        if let Some(mutant) = mutant {
            setup = setup.read(&format!("mutant={mutant}"), Self::ABOUT)?;
        }
        let exhibit = Self::exhibit(&setup)?;
        Ok(explored::run(exhibit, &setup, scope, limits.threads, limits.states_max, go_on))
    }

    fn cost(&self, nodes: u64) -> Option<(f64, u64)> {
        E::cost(nodes)
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue;

    #[test]
    fn a_fault_or_a_request_that_names_a_node_beyond_the_last_is_refused() {
        let row = catalogue::row("paxos").expect("it is in the catalogue");
        for words in [
            "faults=crash:n4@0+5",
            "faults=pause:n4@0+5",
            "faults=cut:n1.n4@0+5",
            "faults=unheard:n4@0+5",
            "faults=link:n4.n1@0+5",
            "faults=link:n1.n4@0+5",
            "faults=ahead:n4@0+5",
            "faults=behind:n4@0+5",
            "asks=n4@0",
        ] {
            let setup = row.setup_with(words).expect("it can be read");
            let refused = row.check(&setup).expect_err("there are three nodes").to_string();
            assert_eq!(refused, "n4 is named, but there are only 3 nodes", "{words}");
            let setup = row.setup_with(&words.replace("n4", "n3")).expect("it can be read");
            assert_eq!(row.check(&setup), Ok(()), "{words}");
        }
    }
}
