//! Writing the keys that reads are to find: as many a transaction as any server lets through.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_client::proto::etcdserverpb::{
    PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};
use quorate_client::{Client, ClientError, Options};

use crate::bench::keys::{Keys, Random, Values};
use crate::bench::load::Target;
use crate::error::CliError;

/// How many transactions are under way at once.
const WRITERS: u64 = 16;
/// How many keys a transaction writes: below what etcd allows by default, and below its limit of bytes with values of
/// some kilobytes.
const KEYS_PER_TXN: u64 = 100;
/// The size of the values of one transaction, which then has fewer keys.
const TXN_BYTES: u64 = 512 << 10;
/// How often to say how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Writes every key, unless all are there. Returns how many it wrote.
pub(crate) fn fill(keys: Keys, value_bytes: usize, target: &Target) -> Result<u64, CliError> {
    crate::waiting_runtime()?.block_on(async {
        let client = Client::new(&target.endpoints, Options::default())?;
        let (key, range_end) = keys.range();
        let count = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
        let found = client.range(count).await?.count;
        if u64::try_from(found).is_ok_and(|found| found >= keys.count()) {
            return Ok(0);
        }
        let filling = Arc::new(Filling {
            client,
            keys,
            values: Values::new(value_bytes),
            keys_per_txn: (TXN_BYTES / (value_bytes as u64).max(1)).clamp(1, KEYS_PER_TXN),
            next: AtomicU64::new(0),
        });
        let writers: Vec<_> =
            (0..WRITERS).map(|id| tokio::spawn(filling.clone().write(id))).collect();
        for writer in writers {
            writer.await.map_err(|_| CliError::Bench("a writer died".into()))??;
        }
        Ok(keys.count())
    })
}

/// What the writers share.
struct Filling {
    client: Client,
    keys: Keys,
    values: Values,
    keys_per_txn: u64,
    /// The first key that nobody has taken yet.
    next: AtomicU64,
}

impl Filling {
    async fn write(self: Arc<Self>, id: u64) -> Result<(), ClientError> {
        let mut random = Random::new(id);
        // One writer speaks for all.
        let has_terminal = id == 0 && std::io::stderr().is_terminal();
        let mut said = Instant::now();
        loop {
            let first = self.next.fetch_add(self.keys_per_txn, Ordering::Relaxed);
            if first >= self.keys.count() {
                return Ok(());
            }
            if has_terminal && said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                eprintln!("  {first} of {} keys", self.keys.count());
            }
            let past = (first + self.keys_per_txn).min(self.keys.count());
            let put = |index| {
                let (key, value) = (self.keys.key(index), self.values.pick(&mut random));
                let put = PutRequest { key, value, ..PutRequest::default() };
                RequestOp { request: Some(request_op::Request::RequestPut(put)) }
            };
            let success = (first..past).map(put).collect();
            self.client.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
        }
    }
}
