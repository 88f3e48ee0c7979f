//! What the system says of this process, under the names that every exporter for Prometheus has.

use std::fmt;
use std::fs;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::scrape::gauge;

/// What was seen at one look; what the system doesn't say is left out.
#[derive(Debug)]
pub(super) struct Process {
    resident_bytes: Option<i64>,
    virtual_bytes: Option<i64>,
    open_files: Option<i64>,
    files_max: Option<i64>,
    times: Option<Times>,
}

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    /// How long processors have worked for it.
    worked: f64,
    /// When it started, since 1970.
    started: f64,
}

impl Process {
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        // The look itself opens one.
        let open = fs::read_dir("/proc/self/fd").map(|files| files.count().saturating_sub(1));
        Process {
            resident_bytes: bytes_at(&status, "VmRSS:"),
            virtual_bytes: bytes_at(&status, "VmSize:"),
            open_files: open.ok().and_then(|open| i64::try_from(open).ok()),
            files_max: files_max(&limits),
            times: times(&stat, &system, ticks_per_second as f64),
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM",
                self.resident_bytes,
            ),
            ("process_virtual_memory_bytes", "Memory of the process", self.virtual_bytes),
            ("process_open_fds", "Open files of the process", self.open_files),
            ("process_max_fds", "How many files the process may open", self.files_max),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                gauge(encoder, name, help, value)?;
            }
        }
        let Some(Times { worked, started }) = self.times else { return Ok(()) };
        let (metric, name) = (ConstCounter::new(worked), "process_cpu_seconds");
        let help = "How long processors have worked for the process";
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        let (metric, name) = (ConstGauge::new(started), "process_start_time_seconds");
        let help = "When the process started, in seconds since 1970";
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}

/// A number of kilobytes in `/proc/self/status`.
fn bytes_at(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limit that is in force; it need not be a number.
fn files_max(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// From `/proc/self/stat` and `/proc/stat`.
fn times(stat: &str, system: &str, ticks_per_second: f64) -> Option<Times> {
    // The second field is the program's name, in brackets, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let booted: f64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Times {
        worked: (ticks(14)? + ticks(15)?) / ticks_per_second,
        started: booted + ticks(22)? / ticks_per_second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_field_by_field() {
        let status = "VmPeak:\t  900 kB\nVmSize:\t  800 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(bytes_at(status, "VmRSS:"), Some(12 * 1024));
        let limits = "Max processes   5  6  processes\nMax open files  1024   4096   files\n";
        assert_eq!(files_max(limits), Some(1024));
        assert_eq!(files_max("Max open files  unlimited  unlimited  files\n"), None);
        let stat = "7 (a ) name) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 3000 9 9";
        let system = "cpu 1 2 3\nbtime 1000\n";
        assert_eq!(times(stat, system, 100.0), Some(Times { worked: 2.0, started: 1030.0 }));
        assert_eq!(times("", system, 100.0), None);
    }

    #[test]
    fn this_process_is_seen_at_work() {
        let process = Process::look();
        assert!(process.resident_bytes > Some(0) && process.open_files > Some(0), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.files_max >= process.open_files, "{process:?}");
        let started = process.times.expect("the system tells the time").started;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
        assert!((now.as_secs_f64() - started).abs() < 24.0 * 3600.0, "started at {started}");
    }
}
