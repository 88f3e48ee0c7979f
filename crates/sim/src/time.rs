//! Virtual time: nanoseconds since the simulation began. Nothing here has ever seen a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant of virtual time, in nanoseconds since the start of the simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start of the simulation.
    pub const ZERO: Time = Time(0);

    /// How long after the start of the simulation this is.
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// The duration in nanoseconds. A span of more than 584 years is a mistake of whoever asked for it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a duration fits in 64 bits of nanoseconds")
}

impl From<Duration> for Time {
    fn from(since_start: Duration) -> Self {
        Time(nanos(since_start))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, after: Duration) -> Time {
        Time(self.0.checked_add(nanos(after)).expect("virtual time fits in 64 bits of nanoseconds"))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.checked_sub(earlier.0).expect("time runs forwards"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_prints_as_seconds_with_every_nanosecond() {
        assert_eq!(Time(1_000_000_007).to_string(), "1.000000007");
        assert_eq!((Time::ZERO + Duration::from_millis(20)).to_string(), "0.020000000");
    }

    #[test]
    fn a_difference_is_what_was_added() {
        let late = Time(5) + Duration::from_micros(3);
        assert_eq!(late - Time(5), Duration::from_micros(3));
    }
}
