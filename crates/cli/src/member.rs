//! `quorate member`: who the members are, and changes of that.

use clap::{Args, Subcommand};
use quorate_client::Client;
use quorate_client::proto::etcdserverpb::{Member, MemberAddRequest, MemberUpdateRequest};
use serde_json::{Value, json};

use crate::endpoints::EndpointArgs;
use crate::error::CliError;
use crate::table::{self, Align};
use crate::{print, waiting_runtime};

/// List, add, remove, move and promote the members of a cluster
#[derive(Debug, Args)]
#[command(
    after_help = "A new member is sent all data first, and votes once it has caught up; until then it is listed as a \
learner.\nTo replace a dead node: add the new one, start it, and when it votes remove the dead one."
)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// List the members, as all have agreed
    List(OutputArgs),
    /// Take a new member in; start its node afterwards
    Add(AddArgs),
    /// Let a member go, for ever; a node of that id never comes back
    Remove(NamedArgs),
    /// Say where the others reach a member from now on
    Update(UpdateArgs),
    /// Give a learner a vote
    Promote(NamedArgs),
    /// Have the leader hand over to a member
    MoveLeader(NamedArgs),
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// What the new node will be called
    name: String,

    /// Where the others will reach it
    #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
    peer_urls: Vec<String>,

    /// Let it stay a learner, without a vote, until it is promoted
    #[arg(long)]
    learner: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// A command about one member.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The member, by its name or its id
    #[arg(value_name = "ID|NAME")]
    member: String,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// The member, by its name or its id
    #[arg(value_name = "ID|NAME")]
    member: String,

    /// Where the others reach it
    #[arg(long, value_name = "URLS", value_delimiter = ',', required = true)]
    peer_urls: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,
}

/// `quorate member`
pub(crate) fn run(args: MemberArgs) -> Result<(), CliError> {
    waiting_runtime()?.block_on(async {
        match args.command {
            MemberCommand::List(output) => {
                let members = output.endpoints.client()?.members().await?;
                output.show(&members, None)
            }
            MemberCommand::Add(args) => add(args).await,
            MemberCommand::Remove(args) => {
                let client = args.output.endpoints.client()?;
                let member = find(&client, &args.member).await?;
                let members = client.remove_member(member.id).await?;
                let said = format!("{} is no member any more.", shown(&member));
                args.output.show(&members, Some(&said))
            }
            MemberCommand::Update(args) => {
                let client = args.output.endpoints.client()?;
                let member = find(&client, &args.member).await?;
                let request =
                    MemberUpdateRequest { id: member.id, peer_ur_ls: args.peer_urls.clone() };
                let members = client.update_member(request).await?;
                let urls = args.peer_urls.join(",");
                let said = format!("{} is reached at {urls} from now on.", shown(&member));
                args.output.show(&members, Some(&said))
            }
            MemberCommand::Promote(args) => {
                let client = args.output.endpoints.client()?;
                let member = find(&client, &args.member).await?;
                let members = client.promote_member(member.id).await?;
                args.output.show(&members, Some(&format!("{} votes now.", shown(&member))))
            }
            MemberCommand::MoveLeader(args) => hand_over(args).await,
        }
    })
}

/// `quorate move-leader`
pub(crate) fn move_leader(args: NamedArgs) -> Result<(), CliError> {
    waiting_runtime()?.block_on(hand_over(args))
}

async fn add(args: AddArgs) -> Result<(), CliError> {
    let AddArgs { name, peer_urls, learner, output } = args;
    let client = output.endpoints.client()?;
    let request = MemberAddRequest { peer_ur_ls: peer_urls.clone(), is_learner: learner };
    let answer = client.add_member(request).await?;
    let id = answer.member.as_ref().map_or(0, |member| member.id);
    // One that has not started yet has no name, and nobody to ask there.
    let started = answer.members.iter().filter(|member| member.id == id || !member.name.is_empty());
    let listed = started.flat_map(|member| {
        let name = if member.id == id { &name } else { &member.name };
        member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    let listed: Vec<String> = listed.collect();
    let said = format!(
        "{name} ({id:x}) is taken in. Start it with an empty data directory and\n  \
         --name {name} --initial-cluster-state existing --initial-advertise-peer-urls {} \\\n  \
         --initial-cluster {}",
        peer_urls.join(","),
        listed.join(","),
    );
    output.show(&answer.members, Some(&said))
}

async fn hand_over(args: NamedArgs) -> Result<(), CliError> {
    let client = args.output.endpoints.client()?;
    let member = find(&client, &args.member).await?;
    let Some(before) = client.move_leader(member.id).await? else {
        return Err(CliError::NotDone(
            "none of these nodes leads; name all of them with --endpoints, or try again once there is a leader"
                .into(),
        ));
    };
    if args.output.json {
        return print(&format!("{}\n", json!({ "from": before, "to": member.id })));
    }
    print(&format!("Leadership goes from {before:x} to {}.\n", shown(&member)))
}

/// The member with this name or id.
async fn find(client: &Client, named: &str) -> Result<Member, CliError> {
    let members = client.members().await?;
    let by_name = members.iter().find(|member| member.name == named);
    let id = u64::from_str_radix(named, 16).ok();
    let found = by_name.or_else(|| members.iter().find(|member| Some(member.id) == id));
    found.cloned().ok_or_else(|| {
        let known: Vec<String> = members.iter().map(shown).collect();
        CliError::NotDone(format!("there is no member {named}; there are {}", known.join(", ")))
    })
}

fn shown(member: &Member) -> String {
    match member.name.as_str() {
        "" => format!("{:x}", member.id),
        name => format!("{name} ({:x})", member.id),
    }
}

impl OutputArgs {
    /// Prints who the members are, below what there is to say for people.
    fn show(&self, members: &[Member], said: Option<&str>) -> Result<(), CliError> {
        if self.json {
            let all: Vec<Value> = members.iter().map(as_json).collect();
            return print(&format!("{}\n", Value::from(all)));
        }
        let said = said.map(|said| format!("{said}\n\n")).unwrap_or_default();
        print(&format!("{said}{}", as_table(members)))
    }
}

fn as_table(members: &[Member]) -> String {
    let row = |member: &Member| {
        let state = match (member.name.is_empty(), member.is_learner) {
            (true, _) => "not started",
            (false, true) => "learner",
            (false, false) => "voter",
        };
        vec![
            format!("{:x}", member.id),
            if member.name.is_empty() { "-".into() } else { member.name.clone() },
            state.into(),
            member.peer_ur_ls.join(","),
            if member.client_ur_ls.is_empty() { "-".into() } else { member.client_ur_ls.join(",") },
        ]
    };
    let header =
        ["id", "name", "state", "peer URLs", "client URLs"].map(|title| (title, Align::Left));
    table::render(&header, &members.iter().map(row).collect::<Vec<_>>())
}

fn as_json(member: &Member) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "peer_urls": member.peer_ur_ls,
        "client_urls": member.client_ur_ls,
        "is_learner": member.is_learner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_has_not_started_is_shown_as_such() {
        let member = |name: &str, is_learner| Member {
            id: 255,
            name: name.into(),
            peer_ur_ls: vec!["http://a:1".into()],
            is_learner,
            ..Default::default()
        };
        let text = as_table(&[member("n1", false), member("n2", true), member("", true)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("ff  n1    voter"), "{text}");
        assert!(lines[2].starts_with("ff  n2    learner"), "{text}");
        assert!(lines[3].starts_with("ff  -     not started"), "{text}");
    }
}
