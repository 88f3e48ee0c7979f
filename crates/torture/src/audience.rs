//! Watchers that never look away, and whether what each was told is what happened.
//!
//! Every watcher is a stock client on one node. When its stream ends, for whatever reason, it goes to the next node and
//! asks to be told from the first revision on that it has not heard of: what a client of etcd does, and what the watch has
//! to bear. All streams of one watcher together are held to the guarantees of one watch ([`quorate_check::watch`]).
//!
//! What really happened is not taken from a watch: the store is read at every revision that it ever had, and two readings
//! in a row show what changed between them.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, Error, Event, EventType, GetOptions, WatchFilterType, WatchOptions,
    WatchResponse,
};
use quorate_check::kv_model::Revision;
use quorate_check::watch::{self, Asked, Change, Past, Response, Told};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use crate::cluster::DEADLINE;
use crate::error::TortureError;

/// How long a watcher waits before it asks the next node, if one did not answer.
const NEXT_AFTER: Duration = Duration::from_millis(50);
/// How often a watcher asks how far it has come, at the end.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a node may take to take a connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// How many revisions are read at a time.
const READ_AT_A_TIME: u64 = 64;

/// Watchers at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Audience {
    endpoints: Vec<String>,
    watchers: JoinSet<Watcher>,
    /// The revision at which they may stop, once that is known.
    end: signal::Sender<Option<Revision>>,
}

/// One watcher: what it asked for, and what it was told.
#[derive(Debug)]
struct Watcher {
    asked: Asked,
    responses: Vec<Response>,
    /// The first revision that it has not heard of.
    next: Revision,
    /// How often it had to begin again.
    begun: usize,
}

/// What the watchers of an ordeal were told altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How many changes.
    pub changes: usize,
    /// How many streams ended before they should, and were begun anew.
    pub resumed: usize,
}

impl Audience {
    /// Sets watchers on every endpoint: one for everything, one for some keys, one for deletions, one that wants to know
    /// what was there before. The store must be empty.
    pub fn start(endpoints: &[String]) -> Self {
        let (end, ended) = signal::channel(None);
        let mut watchers = JoinSet::new();
        for place in 0..endpoints.len() {
            for asked in kinds() {
                let watcher = Watcher { next: asked.start, asked, responses: Vec::new(), begun: 0 };
                let endpoints = [&endpoints[place..], &endpoints[..place]].concat();
                watchers.spawn(watcher.watch(endpoints, ended.clone()));
            }
        }
        Audience { endpoints: endpoints.to_vec(), watchers, end }
    }

    /// Waits until every watcher has heard of all that has happened, and holds what each was told against it. Nobody may
    /// write any more, and all nodes have to run.
    ///
    /// # Errors
    /// The first guarantee that was broken, or what was not heard in time.
    pub async fn judge(mut self) -> Result<Heard, TortureError> {
        let (past, newest) = read_past(&self.endpoints[0]).await?;
        self.end.send_replace(Some(newest));
        let mut heard = Heard { changes: 0, resumed: 0 };
        let all = async {
            while let Some(outcome) = self.watchers.join_next().await {
                let watcher = match outcome {
                    Ok(watcher) => watcher,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
                watch::check(&past, &watcher.asked, &watcher.responses, Some(newest))
                    .map_err(|broken| TortureError::Watch(broken.to_string()))?;
                heard.changes += watcher.changes();
                heard.resumed += watcher.begun - 1;
            }
            Ok(heard)
        };
        tokio::time::timeout(DEADLINE, all).await.unwrap_or_else(|_| {
            Err(TortureError::NotSeen {
                what: format!("every watcher hearing of revision {}", newest.0),
                within: DEADLINE,
                last: "some had not".to_owned(),
            })
        })
    }
}

/// What there is to ask for, each in a way of its own.
fn kinds() -> [Asked; 4] {
    let all = Asked {
        from: b"\0".to_vec(),
        to: None,
        start: Revision(1),
        puts: true,
        deletions: true,
        previous: false,
    };
    let some = Asked { from: b"key-03".to_vec(), to: Some(b"key-07".to_vec()), ..all.clone() };
    let deletions = Asked { puts: false, ..all.clone() };
    let previous = Asked { previous: true, ..all.clone() };
    [all, some, deletions, previous]
}

impl Watcher {
    async fn watch(
        mut self,
        endpoints: Vec<String>,
        mut end: signal::Receiver<Option<Revision>>,
    ) -> Self {
        for endpoint in endpoints.iter().cycle() {
            self.begun += 1;
            // However a stream ends, the next one goes on where it was.
            if let Ok(true) = self.listen(endpoint, &mut end).await {
                break;
            }
            tokio::time::sleep(NEXT_AFTER).await;
        }
        self
    }

    /// Listens to one node; whether it has heard enough.
    async fn listen(
        &mut self,
        endpoint: &str,
        end: &mut signal::Receiver<Option<Revision>>,
    ) -> Result<bool, Error> {
        let options = ConnectOptions::new().with_connect_timeout(CONNECTED_WITHIN);
        let mut client = Client::connect([endpoint], Some(options)).await?;
        let mut stream = client.watch(self.asked.from.clone(), Some(self.options())).await?;
        let mut turns = tokio::time::interval(ASK_EVERY);
        loop {
            tokio::select! {
                response = stream.message() => {
                    let Some(response) = response? else { return Ok(false) };
                    if response.canceled() {
                        return Ok(false);
                    }
                    self.hear(&response);
                }
                _ = turns.tick(), if end.borrow().is_some() => stream.request_progress().await?,
                changed = end.changed(), if end.borrow().is_none() => {
                    if changed.is_err() {
                        return Ok(true);
                    }
                }
            }
            if end.borrow().is_some_and(|end| self.next > end) {
                return Ok(true);
            }
        }
    }

    fn options(&self) -> WatchOptions {
        let mut filters = Vec::new();
        if !self.asked.puts {
            filters.push(WatchFilterType::NoPut);
        }
        if !self.asked.deletions {
            filters.push(WatchFilterType::NoDelete);
        }
        let options = WatchOptions::new()
            .with_start_revision(self.next.0 as i64)
            .with_filters(filters)
            .with_progress_notify();
        let options = if self.asked.previous { options.with_prev_key() } else { options };
        match &self.asked.to {
            Some(to) => options.with_range(to.clone()),
            None => options.with_from_key(),
        }
    }

    fn hear(&mut self, response: &WatchResponse) {
        if response.created() {
            return;
        }
        if response.events().is_empty() {
            let revision = revision(response.header().map_or(0, |header| header.revision()));
            self.responses.push(Response::Progress(revision));
            self.next = self.next.max(Revision(revision.0 + 1));
            return;
        }
        let told: Vec<Told> = response.events().iter().map(told).collect();
        let newest = told.iter().map(|told| told.change.revision).max().unwrap_or_default();
        self.next = Revision(newest.0 + 1);
        self.responses.push(Response::Changes(told));
    }

    fn changes(&self) -> usize {
        let changes = self.responses.iter().map(|response| match response {
            Response::Changes(told) => told.len(),
            Response::Progress(_) => 0,
        });
        changes.sum()
    }
}

/// What a node says before the store began is judged as it is: as a revision that cannot be.
fn revision(revision: i64) -> Revision {
    Revision(revision.unsigned_abs())
}

fn told(event: &Event) -> Told {
    let kv = event.kv();
    let is_put = event.event_type() == EventType::Put;
    Told {
        change: Change {
            revision: revision(kv.map_or(0, |kv| kv.mod_revision())),
            key: kv.map_or_else(Vec::new, |kv| kv.key().to_vec()),
            value: kv.filter(|_| is_put).map(|kv| kv.value().to_vec()),
            created: revision(kv.map_or(0, |kv| kv.create_revision())),
        },
        previous: event.prev_kv().map(|kv| kv.value().to_vec()),
    }
}

/// What a key holds, and when it was created.
type Held = (Vec<u8>, Revision);
type Contents = BTreeMap<Vec<u8>, Held>;

/// Everything that changed since the store began, and its newest revision.
async fn read_past(endpoint: &str) -> Result<(Past, Revision), TortureError> {
    let failed = |source| TortureError::Client { endpoints: endpoint.to_owned(), source };
    let mut client = Client::connect([endpoint], None).await.map_err(failed)?;
    let newest = client.get(b"\0".as_slice(), None).await.map_err(failed)?;
    let newest = revision(newest.header().map_or(0, |header| header.revision()));
    let mut past = Past::default();
    let mut before = Contents::new();
    let mut next = 1;
    while next <= newest.0 {
        let upto = newest.0.min(next + READ_AT_A_TIME - 1);
        let mut readings = JoinSet::new();
        for revision in next..=upto {
            let client = client.clone();
            readings.spawn(async move { (revision, contents_at(client, revision).await) });
        }
        let mut readings = readings.join_all().await;
        readings.sort_unstable_by_key(|(revision, _)| *revision);
        for (revision, contents) in readings {
            let contents = contents.map_err(failed)?;
            tell_apart(&mut past, Revision(revision), &before, &contents);
            before = contents;
        }
        next = upto + 1;
    }
    Ok((past, newest))
}

async fn contents_at(mut client: Client, revision: u64) -> Result<Contents, Error> {
    let options = GetOptions::new().with_from_key().with_revision(revision as i64);
    let found = client.get(b"\0".as_slice(), Some(options)).await?;
    let contents = found.kvs().iter().map(|kv| {
        let created = self::revision(kv.create_revision());
        (kv.key().to_vec(), (kv.value().to_vec(), created))
    });
    Ok(contents.collect())
}

/// Adds what is different in the second reading. The values of the load are all different, so that a write shows.
fn tell_apart(past: &mut Past, revision: Revision, before: &Contents, after: &Contents) {
    for (key, (value, created)) in after {
        if before.get(key) != after.get(key) {
            let (key, value) = (key.clone(), Some(value.clone()));
            past.add(Change { revision, key, value, created: *created });
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        past.add(Change { revision, key: key.clone(), value: None, created: Revision(0) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(entries: &[(&str, &str, u64)]) -> Contents {
        let entries = entries.iter().map(|(key, value, created)| {
            (key.as_bytes().to_vec(), (value.as_bytes().to_vec(), Revision(*created)))
        });
        entries.collect()
    }

    /// What a watcher of everything would be told, and then without one of the responses.
    #[test]
    fn a_past_that_was_read_accuses_who_missed_some_of_it() {
        let readings =
            [contents(&[]), contents(&[("a", "1", 2)]), contents(&[("a", "2", 2)]), contents(&[])];
        let mut past = Past::default();
        for (place, pair) in readings.windows(2).enumerate() {
            tell_apart(&mut past, Revision(place as u64 + 2), &pair[0], &pair[1]);
        }
        let told = |revision, value: Option<&str>| {
            let value = value.map(|value| value.as_bytes().to_vec());
            let (key, created) = (b"a".to_vec(), Revision(2));
            let change = Change { revision: Revision(revision), key, value, created };
            Response::Changes(vec![Told { change, previous: None }])
        };
        let all = [told(2, Some("1")), told(3, Some("2")), told(4, None)];
        let [asked, ..] = kinds();
        assert_eq!(watch::check(&past, &asked, &all, Some(Revision(4))), Ok(()));
        for missed in 0..all.len() {
            let mut heard = all.to_vec();
            heard.remove(missed);
            watch::check(&past, &asked, &heard, Some(Revision(4))).expect_err("one was missed");
        }
    }
}
