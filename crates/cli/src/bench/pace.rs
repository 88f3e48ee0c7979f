//! When each operation is due, and waiting until then.
//!
//! Operations of a paced run are due at even distances from its start, whatever becomes of those before them. What
//! waits because the server or the generator is late keeps its due time, and its latency counts from there: otherwise
//! a stall of a second would count as one slow operation, and not as the thousands that it held up.

use std::io;
use std::time::{Duration, Instant};

/// The due times of one thread of the generator: every `of`-th of all, from the `first` on.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    rate: f64,
    next: u64,
    of: u64,
}

impl Schedule {
    /// `rate` operations a second from `start` on, over all threads.
    pub(crate) fn new(start: Instant, rate: f64, first: u64, of: u64) -> Self {
        Schedule { start, rate, next: first, of }
    }

    /// When the next operation is due.
    pub(crate) fn due(&self) -> Instant {
        // From the index and not from the due time before, so that no error of rounding adds up.
        self.start + Duration::from_secs_f64(self.next as f64 / self.rate)
    }

    /// Goes on to the one after it.
    pub(crate) fn advance(&mut self) {
        self.next += self.of;
    }
}

/// Wakes up at a given time, more exactly than the runtime's own timers, whose millisecond is longer than what a
/// quick operation takes.
#[cfg(target_os = "linux")]
pub(crate) struct Alarm(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    /// Must be called within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe because a type may lie about its descriptor; an OwnedFd does not"
        )]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Alarm(timer))
    }

    /// Returns at that time, or at once if it has passed.
    pub(crate) async fn wait_until(&mut self, time: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let wait = time.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable_mut().await?;
            let mut expirations = [0; 8];
            let read = |timer: &mut tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>| {
                Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)
            };
            // Not ready after all means that the kernel's word came too early: wait on.
            if let Ok(read) = ready.try_io(read) {
                return read.map(|_: usize| ());
            }
        }
    }
}

/// Wakes up at a given time, to the millisecond.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Alarm)
    }

    /// Returns at that time, or at once if it has passed.
    pub(crate) async fn wait_until(&mut self, time: Instant) -> io::Result<()> {
        tokio::time::sleep_until(time.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(mut schedule: Schedule, count: usize) -> Vec<Instant> {
        let next = |_| {
            let due = schedule.due();
            schedule.advance();
            due
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn operations_are_due_at_even_distances() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(dues(Schedule::new(start, 1000.0, 0, 1), 3), [ms(0), ms(1), ms(2)]);
    }

    #[test]
    fn threads_share_the_operations_without_a_gap() {
        let start = Instant::now();
        let mut both = dues(Schedule::new(start, 10.0, 0, 2), 5);
        both.extend(dues(Schedule::new(start, 10.0, 1, 2), 5));
        both.sort();
        assert_eq!(both, dues(Schedule::new(start, 10.0, 0, 1), 10));
    }

    #[test]
    fn no_error_of_rounding_adds_up() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 3.0, 0, 1);
        (0..3_000_000).for_each(|_| schedule.advance());
        assert_eq!(schedule.due(), start + Duration::from_secs(1_000_000));
    }

    #[tokio::test]
    async fn an_alarm_does_not_go_off_early_and_can_be_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..2 {
            let time = Instant::now() + Duration::from_micros(300);
            alarm.wait_until(time).await.unwrap();
            assert!(Instant::now() >= time);
        }
        alarm.wait_until(Instant::now()).await.unwrap();
    }
}
