//! What is asked wrongly, and what to do about it.

use std::fmt;

use thiserror::Error;

/// Why a run is refused. Nothing has run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such row.
    #[error("there is no protocol {name}; `quorate lab list` shows all{hint}")]
    Row {
        /// The name.
        name: String,
        /// The nearest that there is.
        hint: Hint,
    },
    /// There is no such scenario.
    #[error("{row} has no scenario {name}{hint}")]
    Scenario {
        /// The row.
        row: &'static str,
        /// The name.
        name: String,
        /// The nearest that there is.
        hint: Hint,
    },
    /// There is no such mutant.
    #[error("there is no mutant {name} of this protocol{hint}")]
    Mutant {
        /// The name.
        name: String,
        /// The nearest that there is.
        hint: Hint,
    },
    /// The mutant is of a protocol that production runs, and this binary is for production.
    #[error(
        "this binary was built without the deliberate bugs of {0}, since the database runs it; \
         `cargo run --release --features mutants -- lab …` has them"
    )]
    NotBuiltIn(&'static str),
    /// There is no such number in a setup.
    #[error("there is no setting {name}{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest that there is.
        hint: Hint,
    },
    /// A word of a setup has no value.
    #[error("\"{0}\" has no value: write NAME=VALUE, such as nodes=5")]
    NoValue(String),
    /// A value is no number, or out of its range.
    #[error("{name}={value} is not possible: {name} is a whole number from {least} to {greatest}")]
    Range {
        /// What it is of.
        name: String,
        /// What was given.
        value: String,
        /// The least.
        least: i128,
        /// The greatest.
        greatest: i128,
    },
    /// A delay that is none.
    #[error(
        "delay={0} is not possible: give milliseconds up to 60000, such as delay=5 or delay=1-10"
    )]
    Delay(String),
    /// A fault that is none.
    #[error(
        "cannot read the fault \"{0}\": write KIND:WHOM@AT+LASTS in ms, such as pause:n1@2000+3000; the kinds are crash, \
         pause, cut, unheard (nodes, such as n1.n2), link (its two ends), ahead, behind, loss (percent) and clog (ms)"
    )]
    Fault(String),
    /// A request that is none.
    #[error(
        "cannot read the request \"{0}\": write NODE@AT in ms, such as n1@0, or n1.2@0 for the third of what may be asked"
    )]
    Ask(String),
    /// A fault or a request names a node that isn't there.
    #[error("n{node} is named, but there are only {nodes} nodes")]
    NoSuchNode {
        /// The node.
        node: u64,
        /// The nodes that there are.
        nodes: u64,
    },
    /// The numbers don't fit the protocol's model. The sentence names the bound that they break.
    #[error("{0}")]
    Bound(String),
    /// There is nothing to explore of this row within such a scope.
    #[error(
        "there is no number {wanted} among the explorations of {row}: they are counted from 1 to {count}"
    )]
    Scope {
        /// The row.
        row: &'static str,
        /// How many there are.
        count: usize,
        /// Which was asked for, counted from 1.
        wanted: usize,
    },
}

/// What somebody may have meant: the name that is most like the one that was given, or else all that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    nearest: Option<String>,
    all: Vec<String>,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.nearest, self.all.is_empty()) {
            (Some(name), _) => write!(f, "; did you mean {name}?"),
            (None, false) => write!(f, "; there are {}", self.all.join(", ")),
            (None, true) => Ok(()),
        }
    }
}

impl Hint {
    /// This hint for who is told elsewhere what there is.
    pub(crate) fn without_all(self) -> Self {
        Hint { all: Vec::new(), ..self }
    }
}

/// The known name that is most like the one that was given, if any is like it at all, and all that are known.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Hint {
    let all: Vec<&str> = known.into_iter().collect();
    let rated = all.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(rating, _)| *rating > 0.7);
    Hint {
        nearest: best.map(|(_, known)| known.to_owned()),
        all: all.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_the_nearest_name_or_all_of_them() {
        let known = ["loss", "nodes"];
        assert_eq!(nearest("los", known).to_string(), "; did you mean loss?");
        assert_eq!(nearest("", known).to_string(), "; there are loss, nodes");
        assert_eq!(nearest("x", known).without_all().to_string(), "");
        assert_eq!(nearest("x", []).to_string(), "");
    }
}
