//! What an answer proves about the store, whatever the order of the history may be.

use super::types::{Action, KeyValue, KvInput, KvOutput, KvReply, Reply, Revision, Span};

/// Someone saw this key like this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'h> {
    /// What was seen.
    pub(crate) entry: &'h KeyValue,
    /// Nothing changed the key after the entry's own revision up to this one, included.
    pub(crate) until: Revision,
}

/// Someone saw that these keys, but for the ones shown, were not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absence<'h> {
    pub(crate) span: &'h Span,
    pub(crate) shown: &'h [KeyValue],
    /// At this revision.
    pub(crate) at: Revision,
}

/// The actions that were done, each with its reply.
pub(crate) fn actions<'h>(
    input: &'h KvInput,
    output: &'h KvOutput,
) -> impl Iterator<Item = (&'h Action, &'h Reply)> {
    let done: &[Action] = match (input, &output.reply) {
        (KvInput::One(action), KvReply::One(_)) => std::slice::from_ref(action),
        (KvInput::Txn { success, .. }, KvReply::Txn { succeeded: true, .. }) => success,
        (KvInput::Txn { failure, .. }, KvReply::Txn { succeeded: false, .. }) => failure,
        // An answer of another shape than the question proves nothing but a fault.
        _ => &[],
    };
    done.iter().zip(output.replies())
}

/// The keys that an answer shows.
pub(crate) fn sightings(output: &KvOutput) -> impl Iterator<Item = Sighting<'_>> {
    // What a write shows of earlier writes it saw just before its own revision.
    let is_write = output.is_write();
    let own = output.revision;
    let before = if is_write { own.previous() } else { own };
    output.replies().iter().flat_map(move |reply| {
        let entries = match reply {
            Reply::Put { previous } => previous.as_slice(),
            Reply::Range { entries } => entries,
            Reply::Delete { previous, .. } => previous,
        };
        // A transaction sees its own puts too, but may change them again at the same revision.
        let earlier = entries.iter().filter(move |entry| !(is_write && entry.mod_revision == own));
        earlier.map(move |entry| Sighting { entry, until: before })
    })
}

/// The keys that an answer shows not to be there. A transaction that wrote may have deleted some
/// of them itself, so it proves no absence.
pub(crate) fn absences<'h>(
    input: &'h KvInput,
    output: &'h KvOutput,
) -> impl Iterator<Item = Absence<'h>> {
    let done = actions(input, output).filter(|_| !output.is_write());
    done.filter_map(|(action, reply)| match (action, reply) {
        (Action::Range { span }, Reply::Range { entries }) => {
            Some(Absence { span, shown: entries, at: output.revision })
        }
        (Action::Delete { span, .. }, Reply::Delete { deleted: 0, .. }) => {
            Some(Absence { span, shown: &[], at: output.revision })
        }
        _ => None,
    })
}
