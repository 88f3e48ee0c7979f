//! The durability contract, told by a protocol that does nothing but speak in an order.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

/// What the speaker is asked to do, in order.
#[derive(Clone, Copy)]
enum Say {
    Persist,
    Send(u8),
    SendEarly(u8),
    Reply,
    Release(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Speaker {
    synced: Vec<u64>,
}

impl Protocol for Speaker {
    type Config = ();
    type Message = u8;
    type Timer = ();
    type Record = ();
    type Durable = ();
    type Request = Vec<Say>;
    type Response = ();

    fn fold(_: &mut (), _: u64, _: ()) {}

    fn recover(_: &(), _: (), _: &mut Out<'_, Self>) -> Self {
        Speaker { synced: Vec::new() }
    }

    fn step(&mut self, _: &(), input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => {
                for say in request {
                    match say {
                        Say::Persist => {
                            out.persist(());
                        }
                        Say::Send(message) => out.send(NodeId(2), message),
                        Say::SendEarly(message) => out.send_early(NodeId(2), message),
                        Say::Reply => out.reply(id, ()),
                        Say::Release(before) => out.release(before),
                    }
                }
            }
            Input::Synced { upto } => self.synced.push(upto),
            _ => {}
        }
    }

    fn view(&self) -> String {
        String::new()
    }
}

#[derive(Default)]
struct Seen(Vec<String>);

impl World<Speaker> for Seen {
    fn persist(&mut self, _: ()) {
        self.0.push("persist".into());
    }
    fn emit(&mut self, visible: Visible<Speaker>) {
        self.0.push(match visible {
            Visible::Send { message, .. } => format!("send {message}"),
            Visible::Reply { id, .. } => format!("reply {id}"),
        });
    }
    fn arm(&mut self, _: (), _: Range<Duration>) {}
    fn disarm(&mut self, _: ()) {}
    fn choose(&mut self, _: u32) -> u32 {
        0
    }
    fn release(&mut self, before: u64) {
        self.0.push(format!("release before {before}"));
    }
}

fn ask(host: &mut Host<Speaker>, seen: &mut Seen, says: &[Say]) {
    host.step(&(), Input::Ask { id: RequestId(7), request: says.to_vec() }, seen);
}

#[test]
fn what_follows_a_record_waits_until_it_is_durable() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 0, &mut seen);
    ask(&mut host, &mut seen, &[Say::Send(1), Say::Persist, Say::Send(2), Say::Reply]);
    assert_eq!(seen.0, ["send 1", "persist"]);
    host.synced(&(), 1, &mut seen);
    assert_eq!(seen.0, ["send 1", "persist", "send 2", "reply #7"]);
    assert_eq!(host.state().synced, [1]);
}

#[test]
fn each_effect_waits_for_the_records_before_it_and_no_others() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 0, &mut seen);
    ask(&mut host, &mut seen, &[Say::Persist, Say::Send(1), Say::Persist, Say::Send(2)]);
    host.synced(&(), 1, &mut seen);
    assert_eq!(seen.0, ["persist", "persist", "send 1"]);
    ask(&mut host, &mut seen, &[Say::Send(3)]);
    host.synced(&(), 2, &mut seen);
    assert_eq!(seen.0[3..], ["send 2", "send 3"]);
}

#[test]
fn only_an_early_message_overtakes_the_disk() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 0, &mut seen);
    ask(&mut host, &mut seen, &[Say::Persist, Say::Send(1), Say::SendEarly(2)]);
    assert_eq!(seen.0, ["persist", "send 2"]);
}

#[test]
#[should_panic(expected = "never persisted")]
fn a_world_cannot_sync_what_was_not_persisted() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 0, &mut seen);
    host.synced(&(), 1, &mut seen);
}

#[test]
fn a_copy_of_a_host_goes_its_own_way_and_what_waits_counts_in_a_comparison() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 0, &mut seen);
    ask(&mut host, &mut seen, &[Say::Persist, Say::Send(1)]);
    let mut copy = host.clone();
    assert!(copy == host);
    ask(&mut copy, &mut seen, &[Say::Send(2)]);
    assert!(copy != host, "another message waits");
    copy.synced(&(), 1, &mut seen);
    assert_eq!((host.durable(), copy.durable()), (0, 1));
}

#[test]
fn hosts_that_differ_in_the_number_of_their_records_alone_hash_alike_uncounted() {
    let uncounted = |last: u64, says: &[Say]| {
        let mut seen = Seen::default();
        let mut host = Host::boot(&(), (), last, &mut seen);
        ask(&mut host, &mut seen, says);
        let mut hasher = DefaultHasher::new();
        host.hash_uncounted(&mut hasher);
        hasher.finish()
    };
    let says = [Say::Persist, Say::Send(1)];
    assert_eq!(uncounted(0, &says), uncounted(7, &says));
    let others: [&[Say]; 4] = [
        &[],
        &[Say::Persist],
        &[Say::Persist, Say::Send(2)],
        &[Say::Persist, Say::Persist, Say::Send(1)],
    ];
    others.iter().for_each(|other| assert_ne!(uncounted(0, &says), uncounted(0, other)));
}

#[test]
fn records_are_counted_on_from_those_of_earlier_runs() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 5, &mut seen);
    assert_eq!((host.persisted(), host.durable()), (5, 5));
    ask(&mut host, &mut seen, &[Say::Send(1), Say::Persist, Say::Send(2)]);
    host.synced(&(), 6, &mut seen);
    assert_eq!(seen.0, ["send 1", "persist", "send 2"]);
    assert_eq!(host.state().synced, [6]);
}

#[test]
fn durable_records_may_be_given_up() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 5, &mut seen);
    ask(&mut host, &mut seen, &[Say::Release(6)]);
    assert_eq!(seen.0, ["release before 6"]);
}

#[test]
#[should_panic(expected = "not durable")]
fn a_record_is_not_given_up_before_another_one_has_taken_its_place() {
    let mut seen = Seen::default();
    let mut host = Host::boot(&(), (), 5, &mut seen);
    ask(&mut host, &mut seen, &[Say::Persist, Say::Release(7)]);
}
