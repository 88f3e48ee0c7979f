//! What is written is read back, and what was never written never panics.

use proptest::prelude::*;
use quorate_protocols::consensus::raft::{
    Append, Greeting, InstallSnapshot, Member, Membership, Message, Met, Snapshot, Standing,
    Submission, VoteKind,
};

use super::newer::{Habits, Newer};
use super::*;

fn membership() -> impl Strategy<Value = Membership> {
    let member =
        (0..3usize, any::<u64>(), any::<[u8; 3]>()).prop_map(|(standing, life, context)| {
            let standing = [Standing::Voter, Standing::Learner, Standing::Recovering][standing];
            Member { standing, life, context: Bytes::copy_from_slice(&context) }
        });
    let members = proptest::collection::btree_map(any::<u64>().prop_map(NodeId), member, 0..4);
    (members.clone(), members).prop_map(|(members, outgoing)| Membership { members, outgoing })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let origin = proptest::option::of((any::<u64>(), any::<u64>(), any::<u64>()));
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    let fields = (any::<u64>(), origin, payload, proptest::option::of(membership()));
    let entry = fields.prop_map(|(term, origin, payload, membership)| Entry {
        term: Term(term),
        origin: origin.map(|(node, boot, request)| Origin {
            node: NodeId(node),
            boot,
            request: RequestId(request),
        }),
        payload: payload.into(),
        membership: membership.map(Arc::new),
    });
    proptest::collection::vec(entry, 0..5)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (any::<u64>(), any::<u64>(), membership()).prop_map(|(index, term, membership)| Snapshot {
        index: Index(index),
        term: Term(term),
        membership: Arc::new(membership),
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<u64>().prop_map(|index| Outcome::Matched(Index(index))),
        Just(Outcome::Stale),
        any::<u64>().prop_map(|index| Outcome::NeedsSnapshot(Index(index))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(transfer, next)| Outcome::ChunksTaken { transfer, next }),
        (any::<u64>(), any::<Option<u64>>(), any::<u64>()).prop_map(|(rejected, term, first)| {
            Outcome::Conflict {
                rejected: Index(rejected),
                term: term.map(Term),
                first: Index(first),
            }
        }),
    ]
}

fn greeting() -> impl Strategy<Value = Greeting> {
    prop_oneof![
        Just(Greeting::default()),
        any::<[u64; 3]>().prop_map(|[life, boot, met]| Greeting { life, boot, met }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let kinds = prop_oneof![Just(VoteKind::Pre), Just(VoteKind::Real), Just(VoteKind::Handover)];
    let ticket = (any::<u64>(), any::<u64>()).prop_map(|(boot, number)| Ticket { boot, number });
    let proposals = proptest::collection::vec((any::<u64>(), any::<[u8; 9]>()), 0..5);
    prop_oneof![
        (any::<[u64; 3]>(), kinds, greeting()).prop_map(
            |([term, last_term, last_index], kind, greeting)| {
                Message::RequestVote {
                    term: Term(term),
                    last_term: Term(last_term),
                    last_index: Index(last_index),
                    kind,
                    greeting,
                }
            }
        ),
        (any::<u64>(), any::<bool>(), any::<bool>(), greeting()).prop_map(
            |(term, is_pre, is_granted, greeting)| {
                Message::Vote { term: Term(term), is_pre, is_granted, greeting }
            }
        ),
        greeting().prop_map(|greeting| Message::Hello { greeting }),
        (any::<[u64; 5]>(), entries(), greeting()).prop_map(
            |([term, index, before, commit, round], entries, greeting)| {
                Message::Append(Append {
                    term: Term(term),
                    previous_index: Index(index),
                    previous_term: Term(before),
                    entries,
                    commit: Index(commit),
                    round,
                    greeting,
                })
            }
        ),
        (any::<u64>(), any::<u64>(), outcome(), greeting()).prop_map(
            |(term, round, outcome, greeting)| {
                Message::Appended { term: Term(term), round, outcome, greeting }
            }
        ),
        (any::<[u64; 3]>(), snapshot(), any::<[u8; 9]>(), any::<bool>(), greeting()).prop_map(
            |([term, transfer, number], snapshot, bytes, is_last, greeting)| {
                Message::InstallSnapshot(InstallSnapshot {
                    term: Term(term),
                    transfer,
                    snapshot,
                    number,
                    bytes: Bytes::copy_from_slice(&bytes),
                    is_last,
                    greeting,
                })
            }
        ),
        any::<u64>().prop_map(|term| Message::TimeoutNow { term: Term(term) }),
        (any::<[u64; 3]>(), proposals).prop_map(|([term, boot, settled], proposals)| {
            let proposals = proposals
                .into_iter()
                .map(|(id, payload)| (RequestId(id), Bytes::copy_from_slice(&payload)));
            Message::Submit(Submission {
                term: Term(term),
                boot,
                settled_below: RequestId(settled),
                proposals: proposals.collect(),
            })
        }),
        ticket.clone().prop_map(|ticket| Message::ReadIndex { ticket }),
        (ticket, any::<u64>())
            .prop_map(|(ticket, at)| Message::ReadIndexAnswer { ticket, index: Index(at) }),
    ]
}

fn met() -> impl Strategy<Value = Met> {
    any::<[u64; 3]>().prop_map(|[life, boot, told_in]| Met { life, boot, told_in })
}

fn record() -> impl Strategy<Value = raft::Record> {
    prop_oneof![
        any::<[u64; 2]>().prop_map(|[boot, born]| raft::Record::Booted { boot, born }),
        any::<[u64; 2]>().prop_map(|[life, boot]| raft::Record::Reborn { life, boot }),
        (any::<u64>(), met()).prop_map(|(peer, met)| raft::Record::Met { peer: NodeId(peer), met }),
        (any::<u64>(), any::<Option<u64>>()).prop_map(|(term, vote)| raft::Record::Voted {
            term: Term(term),
            vote: vote.map(NodeId)
        }),
        (any::<u64>(), entries(), any::<u64>()).prop_map(|(after, entries, commit)| {
            raft::Record::Appended { after: Index(after), entries, commit: Index(commit) }
        }),
        (
            (snapshot(), any::<bool>(), any::<[u64; 5]>(), any::<Option<u64>>()),
            proptest::collection::btree_map(any::<u64>().prop_map(NodeId), met(), 0..4),
        )
            .prop_map(
                |((snapshot, keeps_tail, [life, born, boot, term, commit], vote), met)| {
                    raft::Record::Compacted {
                        snapshot,
                        keeps_tail,
                        life,
                        born,
                        boot,
                        met,
                        term: Term(term),
                        vote: vote.map(NodeId),
                        commit: Index(commit),
                    }
                }
            ),
    ]
}

proptest! {
    #[test]
    fn an_envelope_is_read_back_as_it_was_written(
        messages in proptest::collection::vec((any::<u32>().prop_map(GroupId), message()), 0..4),
    ) {
        let envelope = Envelope { messages, unread: 0 };
        let mut buffer = Vec::new();
        encode_envelope(&envelope, &mut buffer);
        prop_assert_eq!(decode_envelope(buffer.into()), Ok(envelope));
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written(group in any::<u32>(), record in record()) {
        let record = Record { group: GroupId(group), record };
        let mut buffer = Vec::new();
        encode_record(&record, &mut buffer);
        prop_assert_eq!(decode_record(buffer.into()), Ok(record));
    }

    #[test]
    fn of_what_a_later_version_says_all_is_read_that_is_known(
        messages in proptest::collection::vec((any::<u32>().prop_map(GroupId), message()), 0..4),
        chance in any::<u64>(),
    ) {
        for kinds in [0, 30] {
            let envelope = Envelope { messages: messages.clone(), unread: 0 };
            let mut buffer = Vec::new();
            let mut newer = newer(Habits { fields: 70, parts: 30, kinds }, chance);
            let legible = newer.encode_envelope(&envelope, &mut buffer);
            prop_assert!(kinds > 0 || legible.messages == messages);
            prop_assert_eq!(decode_envelope(buffer.into()), Ok(legible));
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_read_without_what_is_not_known(
        group in any::<u32>(),
        record in record(),
        chance in any::<u64>(),
    ) {
        let record = Record { group: GroupId(group), record };
        let mut buffer = Vec::new();
        newer(Habits { fields: 70, parts: 0, kinds: 0 }, chance).encode_record(&record, &mut buffer);
        prop_assert_eq!(decode_record(buffer.into()), Ok(record));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = Bytes::from(bytes);
        let _ = decode_envelope(bytes.clone());
        let _ = decode_record(bytes.clone());
        let _ = decode_snapshot(bytes);
    }

    #[test]
    fn a_damaged_envelope_or_record_is_an_error_or_another_one_and_never_a_panic(
        messages in proptest::collection::vec((any::<u32>().prop_map(GroupId), message()), 1..4),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut buffer = Vec::new();
        encode_envelope(&Envelope { messages, unread: 0 }, &mut buffer);
        let at = at.index(buffer.len());
        buffer[at] = byte;
        let bytes = Bytes::from(buffer);
        let _ = decode_envelope(bytes.clone());
        let _ = decode_record(bytes);
    }
}

/// A later version with that chance.
fn newer(habits: Habits, chance: u64) -> Newer<impl FnMut(u64) -> u64> {
    let mut state = chance;
    let draw = move |bound| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    Newer { habits, draw }
}

#[test]
fn a_record_that_says_nothing_of_its_lifes_beginning_may_have_told_anybody_of_any_run() {
    // Group 1, field 2: the third run, as versions wrote it that knew of no beginning.
    let booted = Record { group: GroupId(1), record: raft::Record::Booted { boot: 3, born: 3 } };
    assert_eq!(decode_record(Bytes::from_static(&[0x08, 1, 0x10, 3])), Ok(booted));

    let snapshot = Some(WireSnapshot::from(&Snapshot::default()));
    let compacted = WireCompacted { snapshot, boot: 3, ..WireCompacted::default() };
    let kind = Some(WireRecordKind::Compacted(compacted));
    let bytes = WireRecord { group: 1, kind, born: None }.encode_to_vec();
    let read = decode_record(bytes.into()).map(|record| record.record);
    assert!(matches!(read, Ok(raft::Record::Compacted { boot: 3, born: 3, .. })), "{read:?}");
}

#[test]
fn the_later_version_adds_to_every_message_that_there_is() {
    let sources =
        [include_str!("../wire.rs"), include_str!("membership.rs"), include_str!("snapshot.rs")];
    let messages: usize = sources.iter().map(|s| s.matches("#[prost(message, ").count()).sum();
    let listed = include_str!("newer.rs").matches("\n    (Kind::").count();
    // Those of the envelope, its parts, are put together by hand.
    assert_eq!(messages, listed + 1, "newer.rs doesn't know in which fields a message lies");
}

/// Field 15, a varint: a kind that no version has yet.
const OF_UNKNOWN_KIND: [u8; 2] = [0x78, 0x01];

#[test]
fn a_part_of_an_unknown_kind_is_counted_and_the_rest_of_its_envelope_is_taken() {
    let message = Message::TimeoutNow { term: Term(7) };
    let known = WirePart { group: 3, message: Some((&message).into()) }.encode_to_vec();
    // A vote of a kind that no version has yet.
    let vote = WireRequestVote { kind: 99, ..Default::default() };
    let vote = WirePart { group: 3, message: Some(WireMessage::RequestVote(vote)) };
    let mut buffer = Vec::new();
    for part in [&OF_UNKNOWN_KIND[..], &known, &vote.encode_to_vec(), &OF_UNKNOWN_KIND] {
        buffer.extend([0x0a, part.len() as u8]);
        buffer.extend(part);
    }
    let envelope = Envelope { messages: vec![(GroupId(3), message)], unread: 3 };
    assert_eq!(decode_envelope(buffer.into()), Ok(envelope));
}

#[test]
fn an_unknown_kind_of_record_is_refused_by_name() {
    assert_eq!(
        decode_record(Bytes::copy_from_slice(&OF_UNKNOWN_KIND)),
        Err(WireError::Unknown("kind of record"))
    );
}
