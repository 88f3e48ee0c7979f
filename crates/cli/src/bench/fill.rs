//! Writing the keys that reads are to find.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_client::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate_client::{Client, ClientError, Options};

use crate::bench::keys::{Random, Values};
use crate::bench::load::{Plan, Target};
use crate::error::CliError;

/// How many keys are under way at once.
const WRITERS: u64 = 64;
/// How often to say how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Writes every key of the plan, unless all are there.
pub(crate) fn fill(plan: &Plan, target: &Target) -> Result<(), CliError> {
    crate::waiting_runtime()?.block_on(async {
        let client = Client::new(&target.endpoints, Options::default())?;
        let (key, range_end) = plan.keys.range();
        let count = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
        let found = client.range(count).await?.count;
        if u64::try_from(found).is_ok_and(|found| found >= plan.keys.count()) {
            return Ok(());
        }
        let next = Arc::new(AtomicU64::new(0));
        let values = Values::new(plan.value_bytes);
        let writers: Vec<_> = (0..WRITERS.min(plan.keys.count()))
            .map(|id| {
                let (client, values, keys) = (client.clone(), values.clone(), plan.keys);
                tokio::spawn(write(client, keys, values, next.clone(), id))
            })
            .collect();
        for writer in writers {
            writer.await.map_err(|_| CliError::Bench("a writer died".into()))??;
        }
        Ok(())
    })
}

async fn write(
    client: Client,
    keys: crate::bench::keys::Keys,
    values: Values,
    next: Arc<AtomicU64>,
    id: u64,
) -> Result<(), ClientError> {
    let mut random = Random::new(id);
    // One writer speaks for all.
    let has_terminal = id == 0 && std::io::stderr().is_terminal();
    let mut said = Instant::now();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= keys.count() {
            return Ok(());
        }
        if has_terminal && said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            eprintln!("  {index} of {} keys", keys.count());
        }
        let (key, value) = (keys.key(index), values.pick(&mut random));
        client.put(PutRequest { key, value, ..PutRequest::default() }).await?;
    }
}
