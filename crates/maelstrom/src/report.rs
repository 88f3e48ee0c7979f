//! What came of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::NodeFault;
use crate::history::Finding;
use crate::message::ErrorCode;
use crate::network::Tally;
use crate::workload::Workload;

/// How many findings of a kind are shown.
const SHOWN_MAX: usize = 3;

/// Whether what was promised held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Held,
    /// It didn't.
    Broken(Vec<Finding>),
    /// A node didn't keep to the protocol, which ended the run.
    Fault(NodeFault),
    /// Nobody knows, and why.
    Undecided(String),
}

/// What became of the requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many were made.
    pub asked: u64,
    /// How many were answered.
    pub answered: u64,
    /// How many certainly did not happen.
    pub refused: u64,
    /// How many may have happened.
    pub in_doubt: u64,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was asked.
    pub workload: Workload,
    /// What all chance came from.
    pub seed: u64,
    /// Of how many nodes.
    pub nodes: u16,
    /// Whether it held.
    pub verdict: Verdict,
    /// What became of the requests, by their types.
    pub kinds: BTreeMap<String, Kind>,
    /// How often each error was given, by its code, with the first text.
    pub refusals: BTreeMap<u64, (u64, String)>,
    /// What the network did.
    pub tally: Tally,
    /// How many partitions there were.
    pub partitions: usize,
    /// How often a node was killed.
    pub kills: u64,
    /// How long the run took.
    pub took: Duration,
}

impl Report {
    /// Whether everything that was promised held.
    pub fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }

    /// The verdict in one line.
    pub fn summary(&self) -> String {
        match &self.verdict {
            Verdict::Held => format!("{} held", self.workload),
            Verdict::Broken(findings) => {
                let mut names: Vec<_> = findings.iter().map(|finding| finding.anomaly).collect();
                names.sort_unstable();
                names.dedup();
                format!("{} did not hold: {}", self.workload, names.join(", "))
            }
            Verdict::Fault(fault) => {
                format!("{} did not hold: {} broke the protocol", self.workload, fault.node)
            }
            Verdict::Undecided(_) => format!("{}: undecided", self.workload),
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let (verdict, findings, fault, undecided) = match &self.verdict {
            Verdict::Held => ("held", Vec::new(), Value::Null, Value::Null),
            Verdict::Broken(findings) => ("broken", findings.clone(), Value::Null, Value::Null),
            Verdict::Fault(fault) => {
                let fault = json!({
                    "node": fault.node.to_string(),
                    "complaint": fault.complaint.to_string(),
                    "line": fault.line,
                    "stderr": fault.last_words,
                });
                ("fault", Vec::new(), fault, Value::Null)
            }
            Verdict::Undecided(why) => ("undecided", Vec::new(), Value::Null, json!(why)),
        };
        let findings: Vec<Value> = findings
            .iter()
            .map(|finding| json!({ "anomaly": finding.anomaly, "what": finding.what }))
            .collect();
        let requests: serde_json::Map<String, Value> = self
            .kinds
            .iter()
            .map(|(kind, counted)| {
                let counted = json!({
                    "asked": counted.asked,
                    "answered": counted.answered,
                    "refused": counted.refused,
                    "in_doubt": counted.in_doubt,
                });
                (kind.clone(), counted)
            })
            .collect();
        let errors: serde_json::Map<String, Value> = self
            .refusals
            .iter()
            .map(|(code, (count, text))| {
                (code.to_string(), json!({ "count": count, "first": text }))
            })
            .collect();
        json!({
            "workload": self.workload.to_string(),
            "seed": self.seed,
            "nodes": self.nodes,
            "verdict": verdict,
            "findings": findings,
            "fault": fault,
            "undecided": undecided,
            "requests": requests,
            "errors": errors,
            "messages": {
                "sent": self.tally.sent,
                "lost": self.tally.lost,
                "cut": self.tally.cut,
                "duplicated": self.tally.duplicated,
                "unheard": self.tally.unheard,
            },
            "partitions": self.partitions,
            "kills": self.kills,
            "seconds": self.took.as_secs_f64(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Held => writeln!(f, "{}: everything that it promises HELD.", self.workload)?,
            Verdict::Broken(findings) => write_findings(f, self.workload, findings)?,
            Verdict::Fault(fault) => {
                writeln!(
                    f,
                    "{}: the run ended, because a node broke the protocol.\n",
                    self.workload
                )?;
                writeln!(f, "{fault}")?;
            }
            Verdict::Undecided(why) => writeln!(f, "{}: UNDECIDED: {why}.", self.workload)?,
        }
        writeln!(f)?;
        for (kind, counted) in &self.kinds {
            let Kind { asked, answered, refused, in_doubt } = counted;
            writeln!(
                f,
                "{kind:24} {asked:6} asked {answered:6} answered {refused:6} refused {in_doubt:6} in doubt"
            )?;
        }
        for (code, (count, text)) in &self.refusals {
            let name =
                ErrorCode::of(*code).map_or("the program's own".into(), |code| code.to_string());
            let first =
                if text.is_empty() { String::new() } else { format!(", the first: {text}") };
            writeln!(f, "error {code} ({name}), {count} times{first}")?;
        }
        let Tally { sent, lost, cut, duplicated, unheard } = self.tally;
        write!(
            f,
            "{:24} {sent:6} sent  {lost:6} lost     {cut:6} cut off",
            "messages among nodes"
        )?;
        if duplicated > 0 {
            write!(f, " {duplicated:6} twice")?;
        }
        if unheard > 0 {
            write!(f, " {unheard:6} to killed nodes")?;
        }
        writeln!(f)?;
        let (nodes, seed, seconds) = (self.nodes, self.seed, self.took.as_secs_f64());
        let partitions = self.partitions;
        let nodes = if nodes == 1 { "1 node".into() } else { format!("{nodes} nodes") };
        let partitions =
            if partitions == 1 { "1 partition".into() } else { format!("{partitions} partitions") };
        let kills = match self.kills {
            0 => String::new(),
            1 => ", 1 node killed".into(),
            kills => format!(", {kills} nodes killed"),
        };
        writeln!(f, "{nodes}, {partitions}{kills}, seed {seed}, {seconds:.1} s")
    }
}

fn write_findings(
    f: &mut fmt::Formatter<'_>,
    workload: Workload,
    findings: &[Finding],
) -> fmt::Result {
    writeln!(f, "{workload}: it did NOT hold.")?;
    let mut by_name: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_name.entry(finding.anomaly).or_default().push(finding);
    }
    for (_, findings) in by_name {
        writeln!(f)?;
        for finding in findings.iter().take(SHOWN_MAX) {
            writeln!(f, "{}", finding.to_string().trim_end())?;
        }
        if findings.len() > SHOWN_MAX {
            writeln!(f, "... and {} more", findings.len() - SHOWN_MAX)?;
        }
    }
    Ok(())
}
