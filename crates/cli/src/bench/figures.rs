//! What a round of measuring came to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The figures of one round, or the medians of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Successes a second, completed within the measured window.
    pub(crate) per_second: f64,
    /// The latency of half of the operations is at most this, in microseconds; and so on.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// CPU time of the servers for each success, in microseconds, if their processes are known.
    pub(crate) server_cpu_us: Option<f64>,
    /// Resident memory of the largest server at the end, in bytes.
    pub(crate) server_rss_bytes: Option<f64>,
    /// CPU time of this generator for each success, in microseconds.
    pub(crate) own_cpu_us: Option<f64>,
    /// The longest time within the measured window without a success, in milliseconds.
    pub(crate) longest_gap_ms: f64,
    /// Operations due or begun in the window that failed, by what was said.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Reads that found no key.
    pub(crate) misses: u64,
}

impl Figures {
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The median of each figure, and the sum of what went wrong. There must be at least one round.
    pub(crate) fn median(rounds: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
        let of_known = |figure: fn(&Figures) -> Option<f64>| {
            Some(median(rounds.iter().map(figure).collect::<Option<Vec<f64>>>()?))
        };
        let mut errors = BTreeMap::new();
        for (said, count) in rounds.iter().flat_map(|round| &round.errors) {
            *errors.entry(said.clone()).or_default() += count;
        }
        Figures {
            per_second: of(|f| f.per_second),
            p50_us: of(|f| f.p50_us),
            p99_us: of(|f| f.p99_us),
            p999_us: of(|f| f.p999_us),
            max_us: of(|f| f.max_us),
            server_cpu_us: of_known(|f| f.server_cpu_us),
            server_rss_bytes: of_known(|f| f.server_rss_bytes),
            own_cpu_us: of_known(|f| f.own_cpu_us),
            longest_gap_ms: of(|f| f.longest_gap_ms),
            errors,
            misses: rounds.iter().map(|round| round.misses).sum(),
        }
    }

    /// The figures under their names and units.
    pub(crate) fn as_json(&self) -> Value {
        let round = |figure: f64| (figure * 10.0).round() / 10.0;
        json!({
            "ops_per_s": round(self.per_second),
            "p50_us": round(self.p50_us),
            "p99_us": round(self.p99_us),
            "p999_us": round(self.p999_us),
            "max_us": round(self.max_us),
            "server_cpu_us_per_op": self.server_cpu_us.map(round),
            "server_rss_bytes_max": self.server_rss_bytes,
            "generator_cpu_us_per_op": self.own_cpu_us.map(round),
            "longest_gap_ms": round(self.longest_gap_ms),
            "errors": self.error_count(),
            "errors_by_kind": self.errors,
            "read_misses": self.misses,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "a median of nothing");
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        (figures[middle - 1] + figures[middle]) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 4.0]), 4.0);
        assert_eq!(median(vec![1.0, 2.0]), 1.5);
    }

    #[test]
    fn figures_have_their_medians_and_errors_their_sum() {
        let round = |per_second, server_cpu_us, errors| Figures {
            per_second,
            server_cpu_us,
            errors: BTreeMap::from([("refused".to_string(), errors)]),
            ..Figures::default()
        };
        let rounds = [round(1.0, Some(5.0), 1), round(7.0, Some(4.0), 0), round(6.0, Some(9.0), 2)];
        let median = Figures::median(&rounds);
        assert_eq!((median.per_second, median.server_cpu_us), (6.0, Some(5.0)));
        assert_eq!(median.error_count(), 3);
    }

    #[test]
    fn a_figure_that_one_round_lacks_has_no_median() {
        let known = Figures { server_cpu_us: Some(1.0), ..Figures::default() };
        assert_eq!(Figures::median(&[known, Figures::default()]).server_cpu_us, None);
    }
}
