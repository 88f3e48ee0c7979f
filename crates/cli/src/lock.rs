//! `quorate lock`: a lock that is held as long as a command runs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use clap::Args;
use quorate_client::proto::etcdserverpb::RangeRequest;
use quorate_client::{Client, ClientError};

use crate::error::CliError;
use crate::hold::{self, HoldArgs, Token};
use crate::{print_bytes, waiting_runtime};

/// Hold a lock while a command runs
#[derive(Debug, Args)]
#[command(after_help = "\
Waits until the lock is free, and runs the command with the fencing token in its environment: QUORATE_LOCK_KEY is the key \
that is there as long as the lock is held, QUORATE_LOCK_REVISION the revision at which it was created, which is larger for \
each holder than for all before. ETCD_LOCK_KEY and ETCD_LOCK_REV are the same.\n\
The command gets SIGTERM when the lock's lease cannot be renewed, and SIGKILL before it ends. Ends with the command's \
status, or with 1 if the lock was lost. Without a command, prints the key and the revision, and holds the lock until it is \
interrupted.\n\n\
Examples:\n  quorate lock backups -- ./make-backup.sh\n  quorate lock backups --ttl 10")]
pub(crate) struct LockArgs {
    /// The name of the lock
    name: OsString,

    #[command(flatten)]
    hold: HoldArgs,
}

/// `quorate lock`
pub(crate) fn run(args: LockArgs) -> Result<ExitCode, CliError> {
    let LockArgs { name, hold: args } = args;
    let name = name.into_vec();
    waiting_runtime()?.block_on(async {
        let client = args.client()?;
        let take = async |client: Client, lease| take(&client, &name, lease).await;
        let show = |token: &Token| {
            let mut lines = token.key.clone();
            lines.extend(format!("\n{}\n", token.revision).into_bytes());
            print_bytes(&lines)
        };
        hold::hold(&client, &args, take, show).await
    })
}

/// Waits for the lock; none if it was lost as soon as it was held.
async fn take(client: &Client, name: &[u8], lease: i64) -> Result<Option<Token>, ClientError> {
    let lock = client.lock(name, lease).await?;
    // The header's revision is the token only if nobody was waited for.
    let request = RangeRequest { key: lock.key.clone(), ..RangeRequest::default() };
    let holder = client.range(request).await?;
    let token =
        holder.kvs.first().map(|kv| Token { key: lock.key.to_vec(), revision: kv.create_revision });
    Ok(token)
}
