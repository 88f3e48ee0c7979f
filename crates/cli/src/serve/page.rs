//! docs/FLAGS.md: what the flags of `serve` are, beside etcd's. It is made from the flags themselves.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Args, Command};

use super::ServeArgs;
use super::foreign::{FOREIGN, Fate};

fn page() -> String {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let mut page = String::from(
        "# The flags of `quorate serve`\n\n\
         Made from the flags themselves; `QUORATE_RECORD=1 cargo test -p quorate flags` writes it anew.\n\n\
         Names are etcd's. What a flag says can also be said by a variable, `QUORATE_` or `ETCD_` and the name in capitals \
         with `_` for `-`, or by a file: TOML for `--config`, etcd's YAML for `--config-file`. A flag wins over a variable, \
         `QUORATE_` over `ETCD_`, and all of them over the file; in etcd a file excludes the others.\n\n\
         ## What has an effect\n\n| flag | default | what it does |\n|---|---|---|\n",
    );
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long() else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "| `--{long}` | {} | {help} |", default_of(arg)).unwrap();
    }
    for (fate, heading) in [
        (Fate::NoEffect, "What is taken and has no effect, with a warning"),
        (Fate::Refused, "What is refused"),
    ] {
        writeln!(page, "\n## {heading}\n\n| flag | why |\n|---|---|").unwrap();
        for flag in FOREIGN.iter().filter(|flag| flag.fate == fate) {
            writeln!(page, "| `--{}` | {} |", flag.name, flag.why).unwrap();
        }
    }
    page
}

fn default_of(arg: &Arg) -> String {
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let values = values.collect::<Vec<_>>().join(",");
    if values.is_empty() { String::new() } else { format!("`{values}`") }
}

#[test]
fn the_page_of_flags_says_what_the_flags_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/FLAGS.md");
    let page = page();
    if std::env::var_os("QUORATE_RECORD").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/FLAGS.md is out of date; QUORATE_RECORD=1 writes it anew");
}
