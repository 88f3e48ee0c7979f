//! Figures on paper.

use serde_json::{Value, json};

use crate::bench::figures::Figures;
use crate::bench::load::{Operation, Plan, Target};
use crate::table::{self, Align};

/// One cluster's figures, for people.
pub(crate) fn one_as_text(plan: &Plan, target: &Target, figures: &Figures) -> String {
    let rows: Vec<Vec<String>> = FIGURES
        .iter()
        .filter_map(|(name, of)| Some(vec![name.to_string(), number(of(figures)?)]))
        .collect();
    let header = [("", Align::Left), ("", Align::Right)];
    let table = table::render(&header, &rows);
    // The header is empty here, and so is its line.
    let table = table.trim_start_matches('\n');
    format!("{}\n\n{table}{}", describe(plan, target), troubles("", figures))
}

/// Two clusters' medians beside each other, for people.
pub(crate) fn pair_as_text(
    plan: &Plan,
    ours: (&Target, &[Figures]),
    theirs: (&Target, &[Figures]),
) -> String {
    let (our, their) = (Figures::median(ours.1), Figures::median(theirs.1));
    let rows: Vec<Vec<String>> = FIGURES
        .iter()
        .filter_map(|(name, of)| {
            let (our, their) = (of(&our), of(&their));
            if our.is_none() && their.is_none() {
                return None;
            }
            let ratio = match (our, their) {
                (Some(our), Some(their)) if their > 0.0 => format!("{:.2}", our / their),
                _ => "-".into(),
            };
            let cell = |figure: Option<f64>| figure.map_or("-".into(), number);
            Some(vec![name.to_string(), cell(our), cell(their), ratio])
        })
        .collect();
    let header = [
        ("median of rounds", Align::Left),
        ("here", Align::Right),
        ("against", Align::Right),
        ("ratio", Align::Right),
    ];
    format!(
        "{}\nagainst {}\n\n{}\nops/s of the rounds, which alternated: here {}; against {}\n{}{}",
        describe(plan, ours.0),
        list(theirs.0),
        table::render(&header, &rows),
        rounds(ours.1),
        rounds(theirs.1),
        troubles("here: ", &our),
        troubles("against: ", &their),
    )
}

/// One cluster's figures, for programs.
pub(crate) fn one_as_json(plan: &Plan, target: &Target, figures: &Figures) -> String {
    let mut object = plan_as_json(plan);
    object["endpoints"] = endpoints(target);
    object["figures"] = figures.as_json();
    format!("{object}\n")
}

/// Two clusters' medians and rounds, for programs.
pub(crate) fn pair_as_json(
    plan: &Plan,
    ours: (&Target, &[Figures]),
    theirs: (&Target, &[Figures]),
) -> String {
    let side = |(target, rounds): (&Target, &[Figures])| {
        json!({
            "endpoints": endpoints(target),
            "median": Figures::median(rounds).as_json(),
            "rounds": rounds.iter().map(Figures::as_json).collect::<Vec<_>>(),
        })
    };
    let mut object = plan_as_json(plan);
    object["here"] = side(ours);
    object["against"] = side(theirs);
    format!("{object}\n")
}

/// A figure's name with its unit, and how to find it.
type Named = (&'static str, fn(&Figures) -> Option<f64>);

const FIGURES: [Named; 11] = [
    ("operations/s", |f| Some(f.per_second)),
    ("errors", |f| Some(f.error_count() as f64)),
    ("latency p50, ms", |f| Some(f.p50_us / 1e3)),
    ("latency p99, ms", |f| Some(f.p99_us / 1e3)),
    ("latency p99.9, ms", |f| Some(f.p999_us / 1e3)),
    ("latency max, ms", |f| Some(f.max_us / 1e3)),
    ("longest gap, ms", |f| Some(f.longest_gap_ms)),
    ("servers' CPU per operation, µs", |f| f.server_cpu_us),
    ("largest server's memory, MiB", |f| Some(f.server_rss_bytes? / f64::from(1 << 20))),
    ("this generator's CPU per operation, µs", |f| f.own_cpu_us),
    ("reads that found no key", |f| (f.misses > 0).then_some(f.misses as f64)),
];

/// Three digits where there is a fraction to show, and all of them otherwise.
fn number(figure: f64) -> String {
    match figure {
        f if f == f.trunc() || f >= 1000.0 => format!("{f:.0}"),
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

fn operation(plan: &Plan) -> String {
    let reads = if plan.is_serializable { "serializable reads" } else { "linearizable reads" };
    match plan.operation {
        Operation::Put => "puts".into(),
        Operation::Get => reads.into(),
        Operation::Mixed { read_share } => format!("puts with {:.0} % {reads}", read_share * 100.0),
    }
}

fn describe(plan: &Plan, target: &Target) -> String {
    let connections = plan.connections(target.endpoints.len());
    let pace = plan.rate.map_or(String::new(), |rate| {
        format!(", {} a second, latency counted from when each was due", number(rate))
    });
    format!(
        "{} of {}-byte values under {} for {} s{pace}\n{} on {} to {}",
        operation(plan),
        plan.value_bytes,
        counted(plan.keys.count(), "key"),
        plan.measured.as_secs_f64(),
        counted(plan.clients as u64, "client"),
        counted(connections as u64, "connection"),
        list(target),
    )
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        several => format!("{several} {what}s"),
    }
}

fn list(target: &Target) -> String {
    target.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn rounds(rounds: &[Figures]) -> String {
    rounds.iter().map(|round| number(round.per_second)).collect::<Vec<_>>().join(", ")
}

fn troubles(whose: &str, figures: &Figures) -> String {
    let mut kinds: Vec<(&String, &u64)> = figures.errors.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    kinds.iter().map(|(said, count)| format!("\n{whose}{count} × {said}")).collect::<String>()
        + if kinds.is_empty() { "" } else { "\n" }
}

fn endpoints(target: &Target) -> Value {
    target.endpoints.iter().map(ToString::to_string).collect()
}

fn plan_as_json(plan: &Plan) -> Value {
    let (workload, read_share) = match plan.operation {
        Operation::Put => ("put", 0.0),
        Operation::Get => ("get", 1.0),
        Operation::Mixed { read_share } => ("mixed", read_share),
    };
    json!({
        "workload": workload,
        "read_share": read_share,
        "serializable": plan.is_serializable,
        "clients": plan.clients,
        "rate": plan.rate,
        "seconds": plan.measured.as_secs_f64(),
        "keys": plan.keys.count(),
        "value_bytes": plan.value_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::keys::Keys;

    fn plan() -> Plan {
        Plan {
            operation: Operation::Put,
            clients: 100,
            connections: 8,
            threads: 1,
            rate: Some(10_000.0),
            warmup: Duration::ZERO,
            measured: Duration::from_secs(5),
            keys: Keys::new(10, 8).unwrap(),
            value_bytes: 256,
            is_serializable: false,
            timeout: Duration::from_secs(1),
        }
    }

    fn target() -> Target {
        Target { endpoints: vec!["127.0.0.1:2379".parse().unwrap()], pids: Vec::new() }
    }

    fn figures(per_second: f64) -> Figures {
        Figures { per_second, server_cpu_us: Some(25.0), ..Figures::default() }
    }

    #[test]
    fn figures_beside_each_other_have_a_ratio() {
        let (ours, theirs) = ([figures(9000.0)], [figures(4500.0)]);
        let text = pair_as_text(&plan(), (&target(), &ours), (&target(), &theirs));
        let row = text.lines().find(|line| line.starts_with("operations/s")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells, ["operations/s", "9000", "4500", "2.00"]);
        // A ratio to nothing is none.
        let row = text.lines().find(|line| line.starts_with("errors")).unwrap();
        assert!(row.ends_with(" -"), "{row}");
    }

    #[test]
    fn what_went_wrong_is_said_most_frequent_first() {
        let mut figures = figures(1.0);
        figures.errors = [("rare".to_string(), 1), ("usual".to_string(), 7)].into();
        let text = one_as_text(&plan(), &target(), &figures);
        assert!(text.ends_with("\n7 × usual\n1 × rare\n"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let figures = Figures { server_cpu_us: None, ..Figures::default() };
        let text = one_as_text(&plan(), &target(), &figures);
        assert!(!text.contains("servers' CPU") && !text.contains("found no key"), "{text}");
    }

    #[test]
    fn one_client_has_one_connection_and_several_have_several() {
        let one = describe(&Plan { clients: 1, ..plan() }, &target());
        assert!(one.contains("1 client on 1 connection to"), "{one}");
        let several = describe(&plan(), &target());
        assert!(several.contains("under 10 keys for"), "{several}");
        assert!(several.contains("100 clients on 8 connections to"), "{several}");
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (figure, text) in
            [(0.0, "0"), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12346")]
        {
            assert_eq!(number(figure), text);
        }
    }
}
