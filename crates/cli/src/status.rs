//! `quorate status`: how each node is, those that do not answer included.

use std::collections::BTreeSet;

use clap::Args;
use quorate_client::ClientError;
use quorate_client::proto::etcdserverpb::StatusResponse;
use serde_json::{Value, json};

use crate::endpoints::EndpointArgs;
use crate::error::CliError;
use crate::table::{self, Align};
use crate::{print, waiting_runtime};

/// Show the role, term, revision and size of each node
#[derive(Debug, Args)]
#[command(
    after_help = "Nodes that do not answer are listed too. The exit code is 0 if at least one answered."
)]
pub(crate) struct StatusArgs {
    /// Print a JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    Follower,
    /// It knows of no leader, itself included.
    Leaderless,
    Learner,
}

impl Role {
    /// What the node says it is.
    pub(crate) fn of(status: &StatusResponse) -> Self {
        let own = status.header.as_ref().map_or(0, |header| header.member_id);
        if status.is_learner {
            Role::Learner
        } else if status.leader == 0 {
            Role::Leaderless
        } else if status.leader == own {
            Role::Leader
        } else {
            Role::Follower
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Leaderless => "no leader",
            Role::Learner => "learner",
        }
    }
}

/// `quorate status`
pub(crate) fn run(args: StatusArgs) -> Result<(), CliError> {
    let statuses = waiting_runtime()?
        .block_on(async { Ok::<_, CliError>(args.endpoints.client()?.statuses().await) })?;
    let statuses: Vec<(String, Result<StatusResponse, ClientError>)> =
        statuses.into_iter().map(|(endpoint, status)| (endpoint.to_string(), status)).collect();
    if args.json {
        let all: Vec<Value> = statuses.iter().map(|(at, status)| as_json(at, status)).collect();
        print(&format!("{}\n", Value::from(all)))?;
    } else {
        print(&as_table(&statuses))?;
        print(&complaints(&statuses))?;
    }
    if statuses.iter().all(|(_, status)| status.is_err()) {
        let failures = statuses.into_iter().filter_map(|(_, status)| status.err()).collect();
        return Err(ClientError::AllFailed(failures).into());
    }
    Ok(())
}

fn as_table(statuses: &[(String, Result<StatusResponse, ClientError>)]) -> String {
    let rows: Vec<Vec<String>> = statuses
        .iter()
        .map(|(endpoint, status)| match status {
            Ok(status) => {
                let header = status.header.unwrap_or_default();
                vec![
                    endpoint.clone(),
                    format!("{:x}", header.member_id),
                    Role::of(status).name().into(),
                    status.raft_term.to_string(),
                    status.raft_index.to_string(),
                    header.revision.to_string(),
                    bytes(status.db_size),
                    status.version.clone(),
                ]
            }
            Err(error) => {
                let mut row = vec![endpoint.clone(), "-".into(), "unreachable".into()];
                row.extend(["-"; 4].map(String::from));
                row.push(reason(endpoint, error));
                row
            }
        })
        .collect();
    let header = [
        ("endpoint", Align::Left),
        ("id", Align::Left),
        ("role", Align::Left),
        ("term", Align::Right),
        ("raft index", Align::Right),
        ("revision", Align::Right),
        ("db size", Align::Right),
        ("version", Align::Left),
    ];
    table::render(&header, &rows)
}

/// What the nodes say is wrong, each thing once, a line each.
fn complaints(statuses: &[(String, Result<StatusResponse, ClientError>)]) -> String {
    let answered = statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
    let said: BTreeSet<&str> =
        answered.flat_map(|status| status.errors.iter().map(|said| said.trim())).collect();
    said.iter().map(|said| format!("{}\n", in_words(said))).collect()
}

/// An alarm names its member in decimal, as etcd does; the table has ids in hexadecimal.
fn in_words(said: &str) -> String {
    let alarm = said.strip_prefix("memberID:").and_then(|rest| rest.split_once(" alarm:"));
    match alarm.and_then(|(member, kind)| Some((member.parse::<u64>().ok()?, kind))) {
        Some((member, kind)) => format!("alarm {kind} of member {member:x}"),
        None => said.into(),
    }
}

/// The error without the endpoint, which the row begins with.
fn reason(endpoint: &str, error: &ClientError) -> String {
    let said = match error {
        // A question about the status changes nothing, so it does not matter whether it was heard.
        ClientError::Uncertain { message, .. } => message.clone(),
        other => other.to_string(),
    };
    said.strip_prefix(endpoint).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&said).into()
}

fn as_json(endpoint: &str, status: &Result<StatusResponse, ClientError>) -> Value {
    match status {
        Ok(status) => {
            let header = status.header.unwrap_or_default();
            json!({
                "endpoint": endpoint,
                "cluster_id": header.cluster_id,
                "member_id": header.member_id,
                "role": Role::of(status).name(),
                "leader": status.leader,
                "raft_term": status.raft_term,
                "raft_index": status.raft_index,
                "raft_applied_index": status.raft_applied_index,
                "revision": header.revision,
                "db_size": status.db_size,
                "db_size_in_use": status.db_size_in_use,
                "errors": status.errors,
                "version": status.version,
            })
        }
        Err(error) => json!({ "endpoint": endpoint, "error": reason(endpoint, error) }),
    }
}

fn bytes(count: i64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use quorate_client::proto::etcdserverpb::ResponseHeader;

    use super::*;

    fn node(own: u64, leader: u64) -> StatusResponse {
        let header = ResponseHeader { member_id: own, revision: 42, ..ResponseHeader::default() };
        StatusResponse {
            header: Some(header),
            leader,
            db_size: 20_480,
            ..StatusResponse::default()
        }
    }

    #[test]
    fn a_role_is_what_the_node_says_of_itself() {
        assert_eq!(Role::of(&node(7, 7)), Role::Leader);
        assert_eq!(Role::of(&node(7, 8)), Role::Follower);
        assert_eq!(Role::of(&node(7, 0)), Role::Leaderless);
        assert_eq!(Role::of(&StatusResponse { is_learner: true, ..node(7, 8) }), Role::Learner);
    }

    #[test]
    fn a_node_that_does_not_answer_has_a_row_with_the_reason() {
        let dead = ClientError::Unreachable { endpoint: "b:2".into(), reason: "refused".into() };
        let rows = [("a:1".to_string(), Ok(node(255, 255))), ("b:2".to_string(), Err(dead))];
        let text = as_table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("a:1       ff  leader "), "{text}");
        assert!(lines[1].contains("42") && lines[1].contains("20.0 KiB"), "{text}");
        assert!(lines[2].starts_with("b:2       -   unreachable "), "{text}");
        assert!(lines[2].ends_with("  cannot connect: refused"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said_once_and_names_the_member_as_the_table_does() {
        let errors = vec!["memberID:255 alarm:NOSPACE ".to_string()];
        let said =
            |at: &str| (at.into(), Ok(StatusResponse { errors: errors.clone(), ..node(7, 8) }));
        let lost = vec!["etcdserver: no leader".to_string()];
        let lost = ("c:3".into(), Ok(StatusResponse { errors: lost, ..node(9, 0) }));
        let text = complaints(&[said("a:1"), said("b:2"), lost]);
        assert_eq!(text, "etcdserver: no leader\nalarm NOSPACE of member ff\n");
    }

    #[test]
    fn sizes_are_written_for_people() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
