//! `quorate elect`: one leader among those who campaign, and who that is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use quorate_client::proto::v3electionpb::{CampaignRequest, LeaderResponse};
use quorate_client::{Client, ClientError};

use crate::error::CliError;
use crate::hold::{self, HoldArgs, Stop, Token};
use crate::{print_bytes, waiting_runtime};

/// How long to wait before asking another node, since the one before may have gone because there is no leader yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Lead while a command runs, or see who leads
#[derive(Debug, Args)]
#[command(after_help = "\
Campaigns until it is the leader, prints its key and the value, and runs the command, if there is one, as `quorate lock` \
does: with the same environment, the same signals, and the same exit codes. Without a command, leads until it is \
interrupted.\n\n\
Examples:\n  quorate elect scheduler \"$(hostname)\" -- ./scheduler\n  quorate elect scheduler --listen")]
pub(crate) struct ElectArgs {
    /// The name of the election
    name: OsString,

    /// What the leader says of itself
    #[arg(required_unless_present = "listen", conflicts_with = "listen")]
    value: Option<OsString>,

    /// Print each leader's key and value, as they change
    #[arg(long, short, conflicts_with = "command")]
    listen: bool,

    #[command(flatten)]
    hold: HoldArgs,
}

/// `quorate elect`
pub(crate) fn run(args: ElectArgs) -> Result<ExitCode, CliError> {
    let ElectArgs { name, value, listen: only_listen, hold: args } = args;
    let (name, value) = (name.into_vec(), value.unwrap_or_default().into_vec());
    waiting_runtime()?.block_on(async {
        let client = args.client()?;
        if only_listen {
            return listen(&client, &name).await;
        }
        let campaign = async |client: Client, lease| {
            let (name, value) = (name.clone().into(), value.clone().into());
            campaign(&client, CampaignRequest { name, lease, value }).await
        };
        let show = |token: &Token| print_leader(&token.key, &value);
        hold::hold(&client, &args, campaign, show).await
    })
}

async fn campaign(client: &Client, request: CampaignRequest) -> Result<Option<Token>, ClientError> {
    let leader = client.campaign(request).await?.leader;
    Ok(leader.map(|leader| Token { key: leader.key.to_vec(), revision: leader.rev }))
}

fn print_leader(key: &[u8], value: &[u8]) -> Result<(), CliError> {
    print_bytes(&[key, b"\n", value, b"\n"].concat())
}

/// Prints each leader until it is interrupted. When the node that tells goes away, another is asked.
async fn listen(client: &Client, name: &[u8]) -> Result<ExitCode, CliError> {
    let mut stop = Stop::listen()?;
    let mut seen = None;
    loop {
        let mut leaders = client.observe(name).await?;
        loop {
            let told = tokio::select! {
                _ = stop.asked() => return Ok(ExitCode::SUCCESS),
                told = leaders.next() => told,
            };
            match told {
                Ok(Some(LeaderResponse { kv: Some(leader), .. })) => {
                    // The next node begins with what the one before may have told.
                    if seen != Some(leader.mod_revision) {
                        print_leader(&leader.key, &leader.value)?;
                        seen = Some(leader.mod_revision);
                    }
                }
                Err(error @ ClientError::Refused { .. }) => return Err(error.into()),
                Ok(_) | Err(_) => break,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
