//! The catalogue: every row, family by family.

use crate::about::Family;
use crate::exhibits::{broadcast, clock, consensus, coordination, detector};
use crate::refusal::{Refusal, nearest};
use crate::row::Row;

/// Every row, in the order of the catalogue.
pub fn rows() -> impl Iterator<Item = &'static dyn Row> {
    FAMILIES.iter().flat_map(|(_, rows)| rows.iter().copied())
}

/// The families, each with its rows.
pub const FAMILIES: &[(Family, &[&dyn Row])] = &[
    (Family::Clock, clock::ROWS),
    (Family::Broadcast, broadcast::ROWS),
    (Family::Coordination, coordination::ROWS),
    (Family::Detector, detector::ROWS),
    (Family::Consensus, consensus::ROWS),
];

/// The row of that name.
pub fn row(name: &str) -> Result<&'static dyn Row, Refusal> {
    rows().find(|row| row.about().name == name).ok_or_else(|| Refusal::Row {
        name: name.to_owned(),
        hint: nearest(name, rows().map(|row| row.about().name)).without_all(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::about::PARTS;

    #[test]
    fn names_are_given_once_and_every_header_is_complete() {
        let mut names = BTreeSet::new();
        for (family, rows) in FAMILIES {
            for row in *rows {
                let about = row.about();
                assert_eq!(about.family, *family, "{}", about.name);
                assert!(names.insert(about.name), "{} is there twice", about.name);
                let header = about.header();
                assert!(!header.title.is_empty() && !header.what.is_empty(), "{}", about.name);
                let order: Vec<&str> = header.parts.iter().map(|(part, _)| *part).collect();
                let needed = ["Source", "Model", "Safety", "Cost", "Read next"];
                for part in needed {
                    assert!(order.contains(&part), "the header of {} has no {part}", about.name);
                }
                let in_order: Vec<&str> =
                    PARTS.into_iter().filter(|part| order.contains(part)).collect();
                assert_eq!(order, in_order, "the parts of {} are in another order", about.name);
            }
        }
    }

    #[test]
    fn a_name_that_is_misspelt_suggests_the_nearest() {
        let refused = row("paxso").err().expect("there is no such row");
        assert_eq!(
            refused.to_string(),
            "there is no protocol paxso; `quorate lab list` shows all; did you mean paxos?"
        );
    }
}
