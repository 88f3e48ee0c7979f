//! Every figure of the book is what the command beneath it makes; `QUORATE_RECORD=1` makes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A figure, and the words of the command beneath it.
struct Figure {
    chapter: String,
    name: String,
    words: Vec<String>,
}

fn chapters() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../book/src")
}

/// The figures of a chapter. Each image is followed by a block with one command, which writes a file of the image's name.
fn figures(chapter: &str, text: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, file)) =
            line.strip_prefix("![").and_then(|rest| rest.split_once("](figures/"))
        else {
            continue;
        };
        let name = file.strip_suffix(')').expect("an image ends its line").to_owned();
        let command = text.lines().nth(at + 3).unwrap_or_default();
        let mut words = command.split_whitespace().map(str::to_owned);
        let begins = words.next();
        assert_eq!(begins.as_deref(), Some("quorate"), "{chapter}: no command beneath {name}");
        figures.push(Figure { chapter: chapter.to_owned(), name, words: words.collect() });
    }
    figures
}

/// The files of a directory with that ending, by name.
fn files(directory: &Path, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the book has it");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("it is text")).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

#[test]
fn every_figure_is_what_the_command_beneath_it_makes() {
    let is_recording = std::env::var_os("QUORATE_RECORD").is_some();
    let directory = tempfile::tempdir().expect("there is room");
    let mut made = Vec::new();
    for chapter in files(&chapters(), ".md") {
        let text = fs::read_to_string(chapters().join(&chapter)).expect("it can be read");
        for Figure { chapter, name, words } in figures(&chapter, &text) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
            let output = command.args(&words).current_dir(&directory).output().expect("it runs");
            // A run that breaks a claim ends with 1.
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{chapter}: {words:?}: {said}");
            let drawn = fs::read_to_string(directory.path().join(&name));
            let drawn = drawn.unwrap_or_else(|_| panic!("{chapter}: {words:?} makes no {name}"));
            let kept = chapters().join("figures").join(&name);
            if is_recording {
                fs::write(&kept, &drawn).expect("it can be written");
            }
            let is_current = fs::read_to_string(&kept).is_ok_and(|kept| kept == drawn);
            assert!(
                is_current,
                "{chapter}: {name} is not what {words:?} makes; QUORATE_RECORD=1 makes it anew"
            );
            made.push(name);
        }
    }
    made.sort();
    assert!(made.len() > 5, "the book has figures: {made:?}");
    assert_eq!(
        made,
        files(&chapters().join("figures"), ".svg"),
        "a figure that no chapter shows, or one shown twice"
    );
}

#[test]
fn every_chapter_is_in_the_summary() {
    let summary = fs::read_to_string(chapters().join("SUMMARY.md")).expect("it can be read");
    for chapter in files(&chapters(), ".md").iter().filter(|chapter| *chapter != "SUMMARY.md") {
        assert!(summary.contains(&format!("({chapter})")), "{chapter} is not in the summary");
    }
    for (_, rest) in summary.lines().filter_map(|line| line.split_once("](")) {
        let chapter = rest.trim_end_matches(')');
        assert!(
            chapters().join(chapter).exists(),
            "the summary names {chapter}, which is not there"
        );
    }
}

/// The parts of a chapter that begin with a heading of the second order.
fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n## ").skip(1)
}

#[test]
fn every_protocol_has_a_section_with_a_command_that_runs_it_and_its_source() {
    let root = chapters().join("../..");
    let texts: Vec<String> = files(&chapters(), ".md")
        .iter()
        .map(|chapter| fs::read_to_string(chapters().join(chapter)).expect("it can be read"))
        .collect();
    let shown = |name: &str| {
        let commands = ["run", "explore", "plot"].map(|how| format!("quorate lab {how} {name} "));
        texts.iter().flat_map(|text| sections(text)).any(|section| {
            let is_shown =
                section.lines().any(|line| commands.iter().any(|it| line.starts_with(it)));
            is_shown && section.contains("Cost: ") && section.contains("`crates/protocols/src/")
        })
    };
    let status = files(&root.join("crates/lab/status"), ".txt");
    let rows = status.iter().map(|file| file.trim_end_matches(".txt"));
    let missing: Vec<&str> = rows.filter(|row| !shown(row)).collect();
    assert!(status.len() > 30 && missing.is_empty(), "no section shows {missing:?}");
    for text in &texts {
        for path in text.split('`').filter(|word| word.starts_with("crates/")) {
            assert!(root.join(path).exists(), "the book names {path}, which is not there");
        }
    }
}
