//! When the event loop reads its clock: after the inputs of a turn were taken, before its timers fire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_runtime::{
    Codec, Driver, Handle, Identity, Metrics, Options, Recovered, Roster, Undecodable,
};
use quorate_storage::log::{LogId, LogOptions};
use quorate_storage::vfs::MemoryVfs;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Named before the others, so that no order of names can pass for one of deadlines.
    EndOfBatch,
    Second,
    First,
}

/// Takes so long for each request that its deadlines pass meanwhile, and answers with the timers that have fired.
#[derive(Default)]
struct Dawdler {
    fired: Vec<Timer>,
    asked: Option<RequestId>,
}

impl Protocol for Dawdler {
    type Config = ();
    type Message = ();
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    type Request = ();
    type Response = Vec<Timer>;

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover((): &(), (): (), _: &mut Out<'_, Self>) -> Self {
        Dawdler::default()
    }

    fn step(&mut self, (): &(), input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, .. } => {
                self.asked = Some(id);
                let ms = Duration::from_millis;
                out.arm_now(Timer::EndOfBatch);
                out.arm(Timer::First, ms(1)..ms(1));
                out.arm(Timer::Second, ms(2)..ms(2));
                // Set later than before, but still before the other.
                out.arm(Timer::First, Duration::from_micros(1_500)..Duration::from_micros(1_500));
                let begun = Instant::now();
                while begun.elapsed() < ms(3) {
                    std::hint::spin_loop();
                }
            }
            Input::Fire(timer) => {
                self.fired.push(timer);
                if timer == Timer::EndOfBatch
                    && let Some(id) = self.asked.take()
                {
                    out.reply(id, std::mem::take(&mut self.fired));
                }
            }
            _ => {}
        }
    }

    fn view(&self) -> String {
        String::new()
    }
}

struct Nothing;

impl Codec<Dawdler> for Nothing {
    fn encode_message((): &(), _: &mut BytesMut) {}
    fn decode_message(_: Bytes) -> Result<(), Undecodable> {
        Ok(())
    }
    fn encode_record((): &(), _: &mut BytesMut) {}
    fn decode_record(_: Bytes) -> Result<(), Undecodable> {
        Ok(())
    }
}

impl Roster<Dawdler> for Nothing {
    fn version(_: &Dawdler) -> u64 {
        0
    }
    fn peers(_: &Dawdler) -> BTreeMap<NodeId, Vec<String>> {
        BTreeMap::new()
    }
}

#[tokio::test]
async fn a_deadline_that_passes_while_inputs_are_taken_fires_before_the_end_of_that_batch() {
    let me = NodeId(1);
    let mut log = LogOptions::new(LogId(7));
    log.segment_bytes = 64 << 10;
    let options = Options {
        identity: Identity { cluster: 1, me, address: "localhost:1".into() },
        addresses: BTreeMap::new(),
        hang_up_after: Duration::ZERO,
        enquiries: Handle::channel().0,
        listeners: Vec::new(),
        dialer: None,
    };
    let recovered = Recovered::open::<Nothing>(
        MemoryVfs::new(),
        "log".into(),
        log,
        (),
        Arc::<Metrics>::default(),
    );
    let recovered = recovered.expect("the log opens");
    let (driver, handle) = Driver::<Dawdler, Nothing, _>::start((), recovered, options);
    tokio::spawn(driver.run(std::future::pending()));
    let expected = vec![Timer::First, Timer::Second, Timer::EndOfBatch];
    for _ in 0..5 {
        assert_eq!(handle.ask(()).await, Ok(expected.clone()));
    }
}
