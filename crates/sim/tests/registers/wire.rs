//! Mixed versions: messages that are encoded on their way, by nodes that change their version.

use bytes::Bytes;
use quorate_sim::{
    Bounds, Calm, Counters, Encoded, Failure, Plan, RecordDisk, Report, Rule, Simulation, Version,
    Wire,
};

use crate::clients::{Proposals, bounds};
use crate::protocol::{Config, Message, Registers};

/// What a node of this version makes of what the next version says.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Everything,
    /// Promises are said in words that it doesn't know.
    AllButPromises,
    Wrong,
}

/// The bytes of a message are its place in a list.
struct Listed {
    sent: Vec<Message>,
    reading: Reading,
}

impl Wire<Registers> for Listed {
    fn encode(&mut self, _: Version, message: &Message) -> Encoded<Message> {
        let bytes = Bytes::copy_from_slice(&self.sent.len().to_le_bytes());
        self.sent.push(message.clone());
        Encoded { bytes, legible: None }
    }

    fn decode(
        &mut self,
        by: Version,
        encoded: Encoded<Message>,
        sent: Message,
    ) -> Result<Option<Message>, String> {
        let place = <[u8; 8]>::try_from(&encoded.bytes[..]).expect("eight bytes were written");
        let read = self.sent[usize::from_le_bytes(place)].clone();
        assert_eq!(read, sent, "each message comes with its own bytes");
        match (by, self.reading) {
            (Version::This, Reading::Wrong) => Err("a garbled message".to_owned()),
            (Version::This, Reading::AllButPromises) if matches!(read, Message::Promise { .. }) => {
                Ok(None)
            }
            _ => Ok(Some(read)),
        }
    }
}

fn run(seed: u64, reading: Reading, is_encoded: bool) -> Result<Report, Failure> {
    let bounds = Bounds { mixed_versions: true, ..bounds() };
    let mut replay = Plan::draw(seed, &bounds).replay;
    if !is_encoded {
        replay.reduction.calm.push(Calm::Wire);
    }
    let plan = Plan::of(&replay, &bounds);
    let nodes: Vec<_> = (1..=plan.bounds.nodes as u64).map(quorate_core::NodeId).collect();
    let configs =
        nodes.iter().map(|me| Config { me: *me, nodes: nodes.clone(), bug: None }).collect();
    let proposals = Proposals::new(&plan);
    let listed = Listed { sent: Vec::new(), reading };
    Simulation::new(plan, configs, |_| RecordDisk::new(), proposals).over(listed).run().result
}

#[test]
fn a_wire_that_loses_nothing_changes_nothing() {
    let mut counters = Counters::default();
    for seed in 0..20 {
        let encoded = run(seed, Reading::Everything, true).expect("it survives");
        let handed_over = run(seed, Reading::Everything, false).expect("it survives");
        assert_eq!(encoded.digest, handed_over.digest, "seed {seed}");
        assert_eq!((handed_over.counters.encoded, encoded.counters.unread), (0, 0));
        counters += encoded.counters;
    }
    for count in
        [counters.encoded, counters.between_versions, counters.upgrades, counters.downgrades]
    {
        assert!(count > 0, "{counters}");
    }
}

#[test]
fn what_its_version_does_not_know_is_lost_on_a_node_and_counted() {
    let unread = |seed| {
        let result = run(seed, Reading::AllButPromises, true);
        result.map_or(0, |report| report.counters.unread)
    };
    assert!((0..20).map(unread).sum::<u64>() > 0);
}

#[test]
fn a_message_that_is_misread_breaks_a_rule() {
    let failure = run(1, Reading::Wrong, true).expect_err("it is misread at once");
    assert_eq!(failure.rule, Rule::Wire);
    assert!(failure.what.contains("of this version, misreads"), "{failure}");
}
