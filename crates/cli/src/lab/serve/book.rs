//! The book on the page: its chapters and figures are in the binary, and each protocol is shown what they say of it.

use std::fmt::Write;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use quorate_lab::{Family, Row, catalogue};

/// A chapter: its file without the ending, which is the name of a family, and its text.
const CHAPTERS: [(&str, &str); 5] = [
    ("clock", include_str!("../../../../../book/src/clock.md")),
    ("broadcast", include_str!("../../../../../book/src/broadcast.md")),
    ("coordination", include_str!("../../../../../book/src/coordination.md")),
    ("detector", include_str!("../../../../../book/src/detector.md")),
    ("consensus", include_str!("../../../../../book/src/consensus.md")),
];

macro_rules! figures {
    ($($name:literal)*) => {
        /// The figures by their names. A new one may be an empty file until the test of the book has made it.
        const FIGURES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../../book/src/figures/", $name)))),*];
    };
}
figures! {
    "ben_or_coins.svg" "ben_or_rounds.svg" "broadcast_boundary.svg" "broadcast_bracha.svg"
    "broadcast_causal.svg" "broadcast_fifo.svg" "broadcast_naive.svg" "broadcast_no_sequencer.svg"
    "broadcast_overtaken.svg" "broadcast_reliable.svg" "broadcast_sequencer.svg"
    "broadcast_unordered.svg" "clock_lamport.svg" "clock_naive.svg" "coordination_barrier.svg"
    "coordination_barrier_twice.svg" "coordination_barrier_verdict.svg" "coordination_bully.svg"
    "coordination_bully_late.svg" "coordination_central.svg" "coordination_central_crash.svg"
    "coordination_central_dies.svg" "coordination_fencing.svg" "coordination_naive_lease.svg"
    "coordination_redlock.svg" "coordination_redlock_clock.svg" "coordination_redlock_one.svg"
    "coordination_ricart.svg" "coordination_ricart_silent.svg" "coordination_ricart_tie.svg"
    "coordination_ring.svg" "coordination_ring_gap.svg" "coordination_ring_messages.svg"
    "coordination_ring_naive.svg" "coordination_token.svg" "coordination_token_late.svg"
    "coordination_token_messages.svg" "detector_adaptive.svg" "detector_any_timeout.svg"
    "detector_mistakes.svg" "detector_phi_mistakes.svg" "detector_phi_noon.svg"
    "detector_short.svg" "detector_swim.svg" "detector_swim_refutes.svg"
    "detector_swim_suspicions.svg" "epaxos_apart.svg" "epaxos_interfere.svg" "flexible_apart.svg"
    "flexible_few.svg" "flp_adversary.svg" "flp_rounds.svg" "gossip_both.svg" "gossip_few.svg"
    "gossip_rounds.svg" "hybrid_back.svg" "hybrid_load.svg" "hybrid_physical.svg"
    "merkle_bytes.svg" "merkle_one.svg" "multi_paxos_adopts.svg" "multi_paxos_gap.svg"
    "multi_paxos_messages.svg" "paxos_backoff.svg" "paxos_duel.svg" "paxos_fixed.svg"
    "paxos_naive.svg" "paxos_promise.svg" "raft_crash.svg" "sync_drift.svg" "sync_half.svg"
    "sync_naive.svg" "truetime_latency.svg" "truetime_naive.svg" "truetime_wait.svg"
    "two_generals.svg" "vector_chat.svg" "vector_entries.svg" "vector_number.svg"
    "version_dotted.svg" "version_lost.svg" "version_siblings.svg" "viewstamped_again.svg"
    "viewstamped_forget.svg" "zab_gap.svg" "zab_own_history.svg"
}

/// A figure, as SVG.
pub(super) fn figure(name: &str) -> Option<&'static str> {
    FIGURES.iter().find(|(known, _)| *known == name).map(|(_, svg)| *svg)
}

/// A chapter as a page of its own.
pub(super) fn chapter(name: &str) -> Option<String> {
    let (name, text) = CHAPTERS.iter().find(|(known, _)| *known == name)?;
    let others: String = CHAPTERS.iter().fold(String::new(), |mut links, (other, text)| {
        let here = if other == name { " aria-current=\"page\"" } else { "" };
        write!(links, "<a href=\"/book/{other}\"{here}>{}</a> ", title(text))
            .expect("a string takes all");
        links
    });
    Some(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} — How a quorum decides</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/lab.css\">\n</head>\n<body class=\"book\">\n\
         <nav aria-label=\"Chapters\"><a href=\"/\">Quorate's lab</a> {others}</nav>\n\
         <main>{}</main>\n</body>\n</html>\n",
        title(text),
        rendered(text)
    ))
}

/// The title of the chapter of a row's family, and the sections of it that speak of the row, as HTML.
pub(super) fn about(row: &dyn Row) -> (&'static str, String) {
    let text = of_family(row.about().family);
    let sections = sections(text).into_iter().filter(|section| speaks_of(section, row));
    (title(text), sections.map(rendered).collect())
}

fn of_family(family: Family) -> &'static str {
    let chapter = CHAPTERS.iter().find(|(name, _)| *name == family.name());
    chapter.expect("every family has a chapter").1
}

fn title(text: &'static str) -> &'static str {
    text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default()
}

/// The parts of a chapter, each with its heading; what stands before the first is the chapter's own.
fn sections(text: &'static str) -> Vec<&'static str> {
    let is_heading = |event: &Event<'_>| {
        matches!(event, Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }))
    };
    let events = Parser::new(text).into_offset_iter();
    let mut starts: Vec<usize> =
        events.filter(|(event, _)| is_heading(event)).map(|(_, place)| place.start).collect();
    starts.push(text.len());
    starts.windows(2).map(|place| &text[place[0]..place[1]]).collect()
}

/// Whether a section names a row, by the name that the command line knows.
fn speaks_of(section: &str, row: &dyn Row) -> bool {
    let mut words =
        section.split(|char: char| !(char.is_ascii_lowercase() || "_0123456789".contains(char)));
    words.any(|word| word == row.about().name)
}

/// Text as HTML. Figures and links lead where the page has them, and what a command runs is a link away.
fn rendered(text: &str) -> String {
    let mut events = Vec::new();
    let mut command: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        let event = match event {
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                let dest_url = CowStr::from(format!("/book/{dest_url}"));
                Event::Start(Tag::Image { link_type, dest_url, title, id })
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let chapter = dest_url.strip_suffix(".md").map(|name| format!("/book/{name}"));
                let dest_url = chapter.map_or(dest_url, CowStr::from);
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            event => event,
        };
        match &event {
            Event::Start(Tag::CodeBlock(_)) => command = Some(String::new()),
            Event::Text(text) => command.iter_mut().for_each(|command| command.push_str(text)),
            _ => {}
        }
        let is_end = matches!(event, Event::End(TagEnd::CodeBlock));
        events.push(event);
        let ran = command.take_if(|_| is_end).and_then(|command| address(&command));
        if let Some(address) = ran {
            let link = format!("<p class=\"open\"><a href=\"{address}\">Open this run</a></p>\n");
            events.push(Event::Html(CowStr::from(link)));
        }
    }
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    page
}

/// Where the page shows what a command runs; none if it is no `quorate lab run`.
fn address(command: &str) -> Option<String> {
    let mut words = command.trim().strip_prefix("quorate lab run ")?.split_whitespace();
    let row = catalogue::row(words.next()?).ok()?;
    let mut setup = row.setup();
    while let Some(word) = words.next() {
        if word == "--scenario" {
            setup = row.calm_setup_with(row.scenario(words.next()?).ok()?.setup).ok()?;
        } else if word.starts_with("--") {
            words.next();
        } else {
            setup = setup.read(word, row.about()).ok()?;
        }
    }
    Some(format!("/#{}?{}", row.about().name, setup.to_string().replace('&', "&amp;")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_figure_of_the_book_is_in_the_binary() {
        let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../book/src/figures");
        let entries = std::fs::read_dir(figures).expect("the book has figures");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it can be read").file_name().into_string())
            .map(|name| name.expect("it is text"))
            .collect();
        names.sort();
        assert_eq!(FIGURES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn the_book_speaks_of_every_protocol() {
        let silent = |row: &&'static dyn Row| about(*row).1.is_empty();
        let silent: Vec<&str> =
            catalogue::rows().filter(silent).map(|row| row.about().name).collect();
        assert!(silent.is_empty(), "no section of their chapters names {silent:?}");
    }

    #[test]
    fn a_section_is_shown_with_its_figures_and_with_links_to_their_runs() {
        let row = catalogue::row("redlock").expect("it is in the catalogue");
        let (title, text) = about(row);
        assert_eq!(title, "Who may act");
        assert!(text.contains("<img src=\"/book/figures/coordination_redlock.svg\""), "{text}");
        let setup = "/#redlock?nodes=5&amp;seed=0&amp;";
        assert!(text.contains(setup), "{text}");
        assert!(!text.contains("bully_election"), "{text}");
        for (chapter, _) in CHAPTERS {
            let page = super::chapter(chapter).expect("it is there");
            for image in page.split("<img src=\"/book/figures/").skip(1) {
                let name = image.split('"').next().unwrap_or_default();
                assert!(figure(name).is_some(), "{chapter}: {name}");
            }
        }
    }
}
