//! What processes on this machine have used, as `/proc` has it (see proc(5)).

use std::path::PathBuf;

use crate::up::layout::Layout;

/// What `/proc` counts CPU time in: `USER_HZ`, which is 100 on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What some processes had used, together, at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// In user and kernel mode, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory of the largest one, in bytes.
    pub(crate) rss_bytes_max: u64,
}

/// What these processes have used so far; nothing if there are none, or one of them is gone.
pub(crate) fn usage(pids: &[u32]) -> Option<Usage> {
    if pids.is_empty() {
        return None;
    }
    pids.iter().try_fold(Usage::default(), |sum, pid| {
        let one = usage_of(&pid.to_string())?;
        Some(Usage {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            rss_bytes_max: sum.rss_bytes_max.max(one.rss_bytes_max),
        })
    })
}

/// What this process has used so far.
pub(crate) fn own_usage() -> Option<Usage> {
    usage_of("self")
}

/// The first of these processes that cannot be read.
pub(crate) fn first_missing(pids: &[u32]) -> Option<u32> {
    pids.iter().copied().find(|pid| usage_of(&pid.to_string()).is_none())
}

/// The processes of a local cluster that still are what `cluster.json` says.
pub(crate) fn of_local_cluster(layout: &Layout) -> Vec<u32> {
    let lives = |pid: u32, url: String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == url.as_bytes())
    };
    let members = layout.members.iter();
    members.filter_map(|m| m.pid.filter(|pid| lives(*pid, m.client_url()))).collect()
}

fn usage_of(pid: &str) -> Option<Usage> {
    let of = |file| std::fs::read_to_string(PathBuf::from("/proc").join(pid).join(file)).ok();
    Some(Usage {
        cpu_seconds: cpu_ticks(&of("stat")?)? as f64 / TICKS_PER_SECOND,
        rss_bytes_max: resident_kib(&of("status")?)? * 1024,
    })
}

/// utime and stime. They are the 14th and 15th field, but the second is a name that may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "77 (a) b (c)) S 1 77 77 0 -1 4194304 9 9 9 9 120 34 5 6 20 0 1 0 88 99 11";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("77 (short) S 1"), None);
    }

    #[test]
    fn resident_memory_is_found_by_its_name() {
        assert_eq!(resident_kib("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   1234 kB\n"), Some(1234));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_can_be_read_and_none_is_nothing() {
        assert!(usage(&[std::process::id()]).unwrap().rss_bytes_max > 0);
        assert_eq!(usage(&[]), None);
        assert_eq!(first_missing(&[std::process::id(), u32::MAX]), Some(u32::MAX));
    }
}
