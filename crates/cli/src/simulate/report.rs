//! What a campaign is said to have come to, for people and for programs.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use quorate_sim::{Campaign, Counters, Failure, Plan, Report};
use serde_json::{Map, Value, json};

use super::Trials;
use crate::table::{self, Align};

/// The counters, in words. Those of the first kind show that there was something to judge, those of the second that it
/// was hard.
const WORK: &[(&str, &str)] = &[
    ("events", "events"),
    ("steps", "inputs taken by nodes"),
    ("asked", "requests of clients"),
    ("answered", "requests answered"),
    ("sent", "messages sent"),
    ("delivered", "messages delivered"),
    ("fired", "timers fired"),
    ("batches", "turns with more than one input"),
    ("encoded", "messages that travelled as bytes"),
    ("persisted", "records written"),
    ("syncs", "disk syncs"),
];

const FAULTS: &[(&str, &str)] = &[
    ("crashes", "node crashes"),
    ("crashes_mid_write", "crashes in the middle of a write"),
    ("torn", "crashes that tore a write"),
    ("records_lost", "unsynced records lost in crashes"),
    ("restarts", "restarts"),
    ("orphaned", "requests left open by a crash"),
    ("pauses", "nodes paused"),
    ("slow_spells", "nodes slowed down"),
    ("stalls", "disks stalled"),
    ("syncs_failed", "disk syncs failed, each the end of a process"),
    ("full_spells", "spells of a full disk"),
    ("syncs_put_off", "syncs put off until a disk had room"),
    ("boots_refused", "boots that an unreadable or full disk refused"),
    ("ruins", "disks ruined"),
    ("losses_known", "nodes that lost their memory and knew it"),
    ("losses_unknown", "nodes that lost their memory and could not know it"),
    ("losses_mended", "nodes whole again after such a loss"),
    ("clock_jumps", "clocks that jumped"),
    ("partitions", "partitions"),
    ("one_way_partitions", "partitions in one direction"),
    ("flaps", "cuts of a flapping link"),
    ("resets", "connections reset"),
    ("loss_spells", "spells of heavy loss"),
    ("clogs", "spells of long delay"),
    ("hints", "lost connections that nodes were told of"),
    ("lost", "messages lost by chance"),
    ("cut", "messages lost to cuts and resets"),
    ("undeliverable", "messages to a node that was down"),
    ("duplicated", "messages delivered twice"),
    ("reordered", "messages that overtook another"),
    ("spikes", "messages delayed long"),
    ("upgrades", "nodes restarted as the next version"),
    ("downgrades", "nodes restarted as this version again"),
    ("between_versions", "messages between nodes of different versions"),
    ("unread", "messages that the receiver's version could not read"),
];

/// One line on how a campaign is getting on.
pub(super) fn progress(campaign: &Campaign, all: &Range<u64>, limit: Option<Duration>) -> String {
    let held = grouped(campaign.held);
    let mut line = match limit {
        Some(limit) => {
            let (took, limit) = (campaign.took.as_secs_f64(), limit.as_secs_f64());
            format!("{took:.0} of {limit:.0} s, {held} seeds held")
        }
        None if all.end < u64::MAX => {
            format!("{held} of {} seeds held", grouped(all.end - all.start))
        }
        None => format!("{held} seeds held"),
    };
    let (hours, speed) = (hours(campaign), grouped(campaign.speed() as u64));
    write!(line, "; {hours} simulated hours, {speed} × real time").expect("a string takes all");
    line
}

/// A campaign, for people.
pub(super) fn as_text(trials: &Trials) -> String {
    let Trials { campaign, .. } = trials;
    let mut text = match &trials.shrunk {
        None => format!("Every rule held in {}.\n\n", named(&trials.seeds)),
        Some(shrunk) => format!(
            "Seed {} BROKE a rule. {} held before.\n\n",
            shrunk.failure.replay.seed,
            counted(campaign.held, "seed")
        ),
    };
    let line = |name: &str, what: String| vec![name.to_owned(), what];
    let mut rows = vec![
        line("simulated", format!("{} hours of a cluster's life", hours(campaign))),
        line(
            "in",
            format!(
                "{:.1} s on {}, {} × real time",
                campaign.took.as_secs_f64(),
                counted(trials.threads as u64, "thread"),
                grouped(campaign.speed() as u64)
            ),
        ),
        line(
            "so one core",
            format!(
                "judges {} × real time: {:.1} s of processor time in all",
                grouped(speed_of_a_core(trials) as u64),
                trials.processor.as_secs_f64()
            ),
        ),
        line(
            "judged",
            format!(
                "{} linearizable{}",
                match trials.linearizable {
                    1 => "1 history".to_owned(),
                    many => format!("{} histories", grouped(many)),
                },
                match trials.audited {
                    0 => String::new(),
                    audited =>
                        format!(", {} too long to search and audited only", grouped(audited)),
                }
            ),
        ),
    ];
    text.push_str(&listed(&rows, Align::Left));
    for (title, counters) in [("What happened", WORK), ("What went wrong", FAULTS)] {
        rows = counters
            .iter()
            .map(|(name, words)| {
                vec![format!("  {words}"), grouped(value(&campaign.counters, name))]
            })
            .collect();
        write!(text, "\n{title}\n{}", listed(&rows, Align::Right)).expect("a string takes all");
    }
    let Range { start, end } = trials.seeds;
    if trials.is_drawn {
        writeln!(text, "\nThe first seed was drawn at random. The same again: quorate simulate --seeds {start}..{end}")
            .expect("a string takes all");
    } else if trials.is_cut_short {
        writeln!(text, "\nGo on from here: quorate simulate --seeds {end}..").expect("a string");
    }
    if let Some(shrunk) = &trials.shrunk {
        let (left, before) = (shrunk.faults.len(), shrunk.faults_before);
        write!(
            text,
            "\n{}The run: {}\nMade small in {}, with {left} of {before} scheduled faults left:\n",
            failed(&shrunk.failure),
            quorate_trial::describe(shrunk.failure.replay.seed),
            counted(shrunk.runs as u64, "run"),
        )
        .expect("a string takes all");
        for scheduled in &shrunk.faults {
            writeln!(text, "  {scheduled}").expect("a string takes all");
        }
        write!(
            text,
            "\nSee it again, with --trace step by step, or with --html FILE as a diagram:\n  {}\n",
            shrunk.failure.command
        )
        .expect("a string takes all");
    }
    text
}

/// A campaign, for programs.
pub(super) fn as_json(trials: &Trials) -> String {
    let Trials { campaign, .. } = trials;
    let counters: Map<String, Value> =
        campaign.counters.each().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let failure = trials.shrunk.as_ref().zip(campaign.failures.first());
    let failure = failure.map(|(shrunk, first)| {
        let mut object = failure_as_json(&shrunk.failure);
        let faults: Vec<String> = shrunk.faults.iter().map(ToString::to_string).collect();
        object["faults"] = json!(faults);
        object["faults_before"] = json!(shrunk.faults_before);
        object["shrink_runs"] = json!(shrunk.runs);
        object["first"] = failure_as_json(first);
        object
    });
    let object = json!({
        "held": failure.is_none(),
        "seeds": { "from": trials.seeds.start, "to": trials.seeds.end },
        "seeds_held": campaign.held,
        "simulated_seconds": campaign.judged.as_secs_f64(),
        "seconds": campaign.took.as_secs_f64(),
        "processor_seconds": trials.processor.as_secs_f64(),
        "threads": trials.threads,
        "histories_linearizable": trials.linearizable,
        "histories_audited": trials.audited,
        "counters": counters,
        "failure": failure,
    });
    format!("{object}\n")
}

/// One run, for people.
pub(super) fn run_as_text(plan: &Plan, result: &Result<Report, Failure>) -> String {
    let what = format!(
        "seed {}: {}, {}, up to {} requests",
        plan.replay.seed,
        quorate_trial::describe(plan.replay.seed),
        counted(plan.faults.len() as u64, "scheduled fault"),
        plan.bounds.operations
    );
    match result {
        Ok(report) => {
            let judged = report.judged.as_secs_f64();
            format!("{what}\nEvery rule held in {judged:.3} simulated seconds.\n")
        }
        Err(failure) => format!("{what}\n{}", failed(failure)),
    }
}

/// One run, for programs.
pub(super) fn run_as_json(plan: &Plan, result: &Result<Report, Failure>) -> String {
    let object = json!({
        "held": result.is_ok(),
        "replay": plan.replay.to_string(),
        "simulated_seconds": result.as_ref().ok().map(|report| report.judged.as_secs_f64()),
        "failure": result.as_ref().err().map(failure_as_json),
    });
    format!("{object}\n")
}

fn failed(failure: &Failure) -> String {
    let mut text = format!(
        "Seed {} broke the {} rule after {} simulated seconds:\n",
        failure.replay.seed, failure.rule, failure.at
    );
    for line in failure.what.lines() {
        writeln!(text, "  {line}").expect("a string takes all");
    }
    text
}

fn failure_as_json(failure: &Failure) -> Value {
    json!({
        "seed": failure.replay.seed,
        "rule": failure.rule.to_string(),
        "at_seconds": failure.at.since_start().as_secs_f64(),
        "what": failure.what,
        "replay": failure.replay.to_string(),
        "command": failure.command,
    })
}

/// Rows of names and values without a header.
fn listed(rows: &[Vec<String>], values: Align) -> String {
    let text = table::render(&[("", Align::Left), ("", values)], rows);
    text.trim_start_matches('\n').to_owned()
}

fn named(seeds: &Range<u64>) -> String {
    match seeds.end - seeds.start {
        0 => "no seed: there was no time for one".to_owned(),
        1 => format!("seed {}", seeds.start),
        count => format!("{} seeds, {} to {}", grouped(count), seeds.start, seeds.end - 1),
    }
}

/// How many times faster than life one core judges that has nothing else to do.
fn speed_of_a_core(trials: &Trials) -> f64 {
    let processor = trials.processor.as_secs_f64();
    trials.campaign.judged.as_secs_f64() / processor.max(f64::MIN_POSITIVE)
}

fn hours(campaign: &Campaign) -> String {
    format!("{:.2}", campaign.judged.as_secs_f64() / 3_600.0)
}

fn value(counters: &Counters, name: &str) -> u64 {
    counters.each().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use quorate_sim::{Rule, Shrunk, Time};

    use super::*;

    fn trials() -> Trials {
        let counters = Counters { events: 1_234_567, crashes: 89, ..Counters::default() };
        let judged = Duration::from_secs(7_200);
        let took = Duration::from_secs(10);
        Trials {
            seeds: 0..1_000,
            is_cut_short: false,
            is_drawn: false,
            threads: 2,
            processor: Duration::from_secs(5),
            campaign: Campaign { held: 1_000, judged, counters, took, ..Campaign::default() },
            linearizable: 1_498,
            audited: 0,
            shrunk: None,
        }
    }

    fn failing() -> Trials {
        let failure = Failure {
            replay: Box::new("17:keep=3".parse().expect("a replay")),
            at: Time::from(Duration::from_millis(1_500)),
            rule: Rule::Invariant,
            what: "two led".to_owned(),
            command: "quorate simulate --replay 17:keep=3".to_owned(),
        };
        let mut trials = trials();
        trials.seeds = 0..18;
        trials.campaign.held = 17;
        trials.campaign.failures = vec![failure.clone()];
        trials.shrunk = Some(Shrunk { failure, faults: Vec::new(), faults_before: 40, runs: 99 });
        trials
    }

    #[test]
    fn every_counter_is_put_in_words_once() {
        let mut named: Vec<&str> = WORK.iter().chain(FAULTS).map(|(name, _)| *name).collect();
        let mut known: Vec<&str> = Counters::default().each().map(|(name, _)| name).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn a_campaign_that_held_says_what_it_judged() {
        let text = as_text(&trials());
        for part in [
            "Every rule held in 1,000 seeds, 0 to 999.",
            "2.00 hours",
            "10.0 s on 2 threads, 720 × real time",
            "judges 1,440 × real time: 5.0 s of processor time in all",
            "1,498 histories linearizable\n",
            "1,234,567",
            "node crashes",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("Go on"), "{text}");
    }

    #[test]
    fn a_campaign_from_a_drawn_seed_says_how_to_see_the_same_again() {
        let text =
            as_text(&Trials { seeds: 700..900, is_cut_short: true, is_drawn: true, ..trials() });
        assert!(text.contains("The same again: quorate simulate --seeds 700..900\n"), "{text}");
        assert!(!text.contains("Go on"), "{text}");
    }

    #[test]
    fn a_failure_is_shown_small_and_with_the_command_that_replays_it() {
        let text = as_text(&failing());
        for part in [
            "Seed 17 BROKE a rule. 17 seeds held before.",
            "Seed 17 broke the invariant rule after 1.500000000 simulated seconds:\n  two led\n",
            "in 99 runs, with 0 of 40",
            "\n  quorate simulate --replay 17:keep=3\n",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let object: Value = serde_json::from_str(&as_json(&failing())).expect("it is JSON");
        assert_eq!((&object["held"], &object["failure"]["seed"]), (&json!(false), &json!(17)));
        assert_eq!(object["failure"]["replay"], json!("17:keep=3"));
    }

    #[test]
    fn thousands_stand_apart() {
        let numbers = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }
}
