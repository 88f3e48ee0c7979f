//! The catalogue as a page of the documentation, made from the headers and from what the tests found.

use std::fmt::Write;

use crate::catalogue::FAMILIES;
use crate::row::Row;

/// `docs/CATALOGUE.md`.
pub fn page() -> String {
    let mut text = String::from(
        "# The catalogue\n\nMade from the headers of the protocols and from what their tests found; `QUORATE_RECORD=1 cargo test -p \
         quorate-lab` writes it anew, and a test fails when it drifts. `quorate lab list NAME` has all of a row, \
         `quorate lab serve` shows it at work.\n",
    );
    for (family, rows) in FAMILIES {
        write!(text, "\n## {}\n", family.name()).expect("a string takes all");
        for row in *rows {
            section(&mut text, *row);
        }
    }
    text
}

fn section(text: &mut String, row: &dyn Row) {
    let about = row.about();
    let header = about.header();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    line(format!("\n### {}\n", header.title));
    let production = if about.is_in_production { " The database runs this very code." } else { "" };
    line(format!("`{}`: {}{production} [Source](../{}).\n", about.name, header.what, about.path));
    line("| claim | what | broken by |\n|---|---|---|".to_owned());
    for claim in about.claims {
        let mutants = about.mutants.iter().filter(|mutant| mutant.breaks == claim.name);
        let mut breakers: Vec<String> =
            mutants.map(|mutant| format!("mutant `{}`", mutant.name)).collect();
        let at_boundary = about.status.lines().filter(|line| {
            line.contains(&format!("breaks {} ", claim.name))
                || line.contains(&format!("breaks {},", claim.name))
        });
        breakers.extend(at_boundary.filter_map(|line| match line.split(' ').next()? {
            "scenario" => Some(format!("scenario `{}`", line.split(' ').nth(1)?)),
            "explored" => {
                Some(format!("exploration: {}", line.split(':').next()?.split(", ").nth(1)?))
            }
            _ => None,
        }));
        line(format!(
            "| {} | {} | {} |",
            claim.name.replace('_', " "),
            claim.what,
            breakers.join(", ")
        ));
    }
    line(String::new());
    for (part, words) in header
        .parts
        .iter()
        .filter(|(part, _)| ["Source", "Cost", "Boundary", "Omitted"].contains(part))
    {
        line(format!("- {part}: {words}"));
    }
    for found in about.status.lines() {
        // The setup of the seeds is long, and `quorate lab list` shows it.
        let found = if found.starts_with("held") {
            found.split(" of ").next().unwrap_or(found)
        } else {
            found
        };
        line(format!("- {found}"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_page_of_the_catalogue_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CATALOGUE.md");
        crate::show::compare(&file, &super::page());
    }
}
