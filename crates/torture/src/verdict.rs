//! Whether a history and what is in the store afterwards agree.
//!
//! Three questions, from the quickest to the hardest. Do all replicas hold the same at the same revision? Is every
//! acknowledged write there at the revision it was acknowledged with, and do the answers not contradict each other
//! ([`revisions::audit`])? And could a store that does one thing at a time have given all these answers
//! ([`kv_model::check`])? The last look at each node is part of the history, so that the same rules hold for it.

use std::collections::BTreeMap;
use std::time::Instant;

use etcd_client::{Client, ConnectOptions, GetOptions};
use quorate_check::kv_model::{
    self, Contents, KeyValue, KvInput, KvOutput, KvReply, Reply, Revision, Span,
};
use quorate_check::{ClientId, revisions};

use crate::cluster::DEADLINE;
use crate::error::TortureError;
use crate::load::Report;
use crate::load::asker::{Asker, entry};

/// The checker needs about one step an operation, and a few for each write of unknown outcome.
const STEPS_MAX: u64 = 20_000_000;
/// How many contradictions are shown: the first ones tell the story.
const FINDINGS_SHOWN: usize = 5;
/// Clients that look at the end are counted from here.
const LAST_LOOK_CLIENTS: u64 = 1_000_000;

/// What was found of a history that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many operations happened or may have happened, the last look at each node included.
    pub operations: usize,
    /// What was in the store in the end.
    pub contents: Contents,
}

impl Report {
    /// Looks at the store through every node, which all have to run, and decides whether it stood the ordeal. The store
    /// must have been empty when the load began, and nobody else may have written to it.
    pub async fn judge(&self) -> Result<Verdict, TortureError> {
        let mut looks = Vec::new();
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            looks.push(self.look(ClientId(LAST_LOOK_CLIENTS + place as u64), endpoint).await?);
        }
        let contents = looks.pop().expect("a load has at least one endpoint");
        compare_replicas(&self.endpoints, contents.revision).await?;
        let history = self.recorder.history();
        let operations = history.operations().count();
        let findings = revisions::audit(&Contents::empty(), &history, Some(&contents));
        if !findings.is_empty() {
            let shown = findings.iter().take(FINDINGS_SHOWN).map(ToString::to_string);
            let first = shown.collect::<Vec<_>>().join("\n");
            return Err(TortureError::Contradictions { count: findings.len(), operations, first });
        }
        match kv_model::check(&Contents::empty(), &history, STEPS_MAX) {
            quorate_check::Verdict::Linearizable { .. } => Ok(Verdict { operations, contents }),
            quorate_check::Verdict::Violation(counterexample) => {
                Err(TortureError::NotLinearizable(counterexample.to_string()))
            }
            quorate_check::Verdict::Undecided { steps } => {
                Err(TortureError::Undecided { operations, steps })
            }
        }
    }

    /// Reads everything through one node, as one more operation of the history.
    async fn look(&self, id: ClientId, endpoint: &str) -> Result<Contents, TortureError> {
        let mut asker = Asker::new(id, connect(endpoint).await?, 1);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = self.recorder.record(&mut asker, KvInput::range(Span::All)).await;
            if let Some(KvOutput { revision, reply: KvReply::One(Reply::Range { entries }) }) =
                output
            {
                return Ok(Contents { revision, entries });
            }
            if Instant::now() >= deadline {
                return Err(TortureError::NotSeen {
                    what: format!("an answer of {endpoint}"),
                    within: DEADLINE,
                    last: "it answered with errors".into(),
                });
            }
        }
    }
}

/// At one revision, all replicas hold the same. A write of unknown outcome may still come while we look, but not before
/// a revision that has been seen.
async fn compare_replicas(endpoints: &[String], at: Revision) -> Result<(), TortureError> {
    let mut first: Option<(&String, Vec<KeyValue>)> = None;
    for endpoint in endpoints {
        let entries = read_at(endpoint, at).await?;
        match &first {
            None => first = Some((endpoint, entries)),
            Some((first, expected)) => {
                if let Some(difference) = difference(expected, &entries) {
                    return Err(TortureError::ReplicasDiffer {
                        first: (*first).clone(),
                        other: endpoint.clone(),
                        revision: at.0.cast_signed(),
                        difference,
                    });
                }
            }
        }
    }
    Ok(())
}

async fn read_at(endpoint: &str, at: Revision) -> Result<Vec<KeyValue>, TortureError> {
    let options = GetOptions::new().with_all_keys().with_revision(at.0.cast_signed());
    let got = connect(endpoint).await?.get("", Some(options)).await.map_err(|source| {
        TortureError::NotSeen {
            what: format!("the contents of {endpoint} at {at}"),
            within: DEADLINE,
            last: source.to_string(),
        }
    })?;
    Ok(got.kvs().iter().map(entry).collect())
}

async fn connect(endpoint: &str) -> Result<Client, TortureError> {
    let options = ConnectOptions::new().with_timeout(DEADLINE);
    let client = Client::connect([endpoint], Some(options)).await;
    client.map_err(|source| TortureError::Client { endpoints: endpoint.into(), source })
}

/// The first key that is not the same on both sides.
fn difference(one: &[KeyValue], other: &[KeyValue]) -> Option<String> {
    let by_key = |entries| -> BTreeMap<_, _> {
        let entries: &[KeyValue] = entries;
        entries.iter().map(|entry| (&entry.key, entry)).collect()
    };
    let (one, other) = (by_key(one), by_key(other));
    let mut keys = one.keys().chain(other.keys());
    let key = keys.find(|key| one.get(*key) != other.get(*key))?;
    Some(format!("{:?} here, {:?} there", one.get(key), other.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(key: &str, revision: u64) -> KeyValue {
        let revision = Revision(revision);
        KeyValue {
            key: key.into(),
            value: b"v".to_vec(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
        }
    }

    #[test]
    fn replicas_differ_by_a_key_that_one_lacks_or_holds_at_another_revision() {
        let both = [held("a", 2), held("b", 3)];
        assert_eq!(difference(&both, &both), None);
        assert!(difference(&both, &both[..1]).is_some_and(|said| said.contains("\"b\"")));
        assert!(difference(&both[..1], &both).is_some_and(|said| said.contains("\"b\"")));
        let later = [held("a", 2), held("b", 4)];
        assert!(difference(&both, &later).is_some_and(|said| said.contains("modified 4")));
    }
}
