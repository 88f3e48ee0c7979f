//! What a row of the catalogue says of itself.

use crate::curve::Curve;
use crate::scenario::Scenario;

/// The families of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Time and order.
    Clock,
    /// Who hears what, and in what order.
    Broadcast,
    /// Who may act.
    Coordination,
    /// Who is alive.
    Detector,
    /// Agreement among nodes that crash.
    Consensus,
}

impl Family {
    /// Its name, as the catalogue and the folders have it.
    pub fn name(self) -> &'static str {
        match self {
            Family::Clock => "clock",
            Family::Broadcast => "broadcast",
            Family::Coordination => "coordination",
            Family::Detector => "detector",
            Family::Consensus => "consensus",
        }
    }
}

/// What a protocol promises, in a form that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name; what breaks it says so in its first words.
    pub name: &'static str,
    /// One sentence.
    pub what: &'static str,
}

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name, as the protocol asks for it.
    pub name: &'static str,
    /// One sentence: what it does instead.
    pub what: &'static str,
    /// The claim that catches it.
    pub breaks: &'static str,
    /// The setup in which it is looked for, as [`crate::Setup::read`] takes it, on top of the row's usual one.
    pub setup: &'static str,
}

/// A number that a row understands beside those that every setup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name in a setup.
    pub name: &'static str,
    /// One sentence, with the unit.
    pub what: &'static str,
    /// The least value.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// What it is unless a setup says otherwise.
    pub usual: i64,
}

/// What a row says of itself. The rest is in the header of its source.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name on the command line and in links.
    pub name: &'static str,
    /// Its family.
    pub family: Family,
    /// Where its source is, from the root of the repository.
    pub path: &'static str,
    /// Its source, which begins with the header.
    pub source: &'static str,
    /// What it promises.
    pub claims: &'static [Claim],
    /// Its deliberate bugs.
    pub mutants: &'static [Mutant],
    /// Its own numbers.
    pub knobs: &'static [Knob],
    /// Runs worth seeing, the first of them first.
    pub scenarios: &'static [Scenario],
    /// Claims that are a curve.
    pub curves: &'static [Curve],
    /// Whether the database runs this very code.
    pub is_in_production: bool,
    /// What its tests found when they were last recorded.
    pub status: &'static str,
}

/// The parts of a header, in the fixed order of the house.
pub const PARTS: [&str; 9] = [
    "Source",
    "Model",
    "Safety",
    "Liveness",
    "Departures",
    "Omitted",
    "Cost",
    "Boundary",
    "Read next",
];

/// The header of a protocol's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the protocol is called.
    pub title: String,
    /// What it is for, in a sentence.
    pub what: String,
    /// Each part that it has, by its name.
    pub parts: Vec<(&'static str, String)>,
}

impl Header {
    /// Reads the `//!` lines that a source begins with. Markdown and links of rustdoc stay as they are.
    pub fn read(source: &str) -> Header {
        let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        let mut first = String::new();
        let mut parts: Vec<(&'static str, String)> = Vec::new();
        for line in lines {
            let named = PARTS
                .into_iter()
                .find_map(|part| Some((part, line.strip_prefix(part)?.strip_prefix(':')?.trim())));
            if let Some((part, text)) = named {
                parts.push((part, text.to_owned()));
                continue;
            }
            let text = parts.last_mut().map_or(&mut first, |(_, text)| text);
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        let (title, what) = first.split_once(": ").unwrap_or((&first, ""));
        Header { title: title.to_owned(), what: what.to_owned(), parts }
    }

    /// One of the parts; none if the header doesn't have it.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|(part, _)| *part == name).map(|(_, text)| text.as_str())
    }
}

impl About {
    /// The header of its source.
    pub fn header(&self) -> Header {
        Header::read(self.source)
    }

    /// The claim of that name.
    pub fn claim(&self, name: &str) -> Option<&'static Claim> {
        self.claims.iter().find(|claim| claim.name == name)
    }

    /// The mutant of that name.
    pub fn mutant(&self, name: &str) -> Option<&'static Mutant> {
        self.mutants.iter().find(|mutant| mutant.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_part_by_part() {
        let source = "//! Paxos: agreement on\n//! one value.\n//!\n//! Source: a paper,\n//! of 2001.\n//! Cost: 4 delays.\n\nuse x;\n//! no";
        let header = Header::read(source);
        assert_eq!((&*header.title, &*header.what), ("Paxos", "agreement on one value."));
        assert_eq!(header.part("Source"), Some("a paper, of 2001."));
        assert_eq!(header.part("Cost"), Some("4 delays."));
        assert_eq!(header.part("Liveness"), None);
    }
}
