//! A progress bar on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tally::Tally;

/// A bar on standard error; does nothing if that is not a terminal.
pub struct Progress {
    bar: ProgressBar,
    interval: Duration,
    /// Whether it counts requests instead of time.
    by_count: bool,
}

impl Progress {
    /// Shows an empty bar for a duration or a number of requests.
    pub fn start(name: &str, length: Option<Duration>, count: Option<u64>, interval: Duration) -> Self {
        let whole = length.map_or(count.unwrap_or(0), |length| length.as_millis() as u64);
        // Draws nothing if standard error is not a terminal.
        let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::stderr_with_hz(4));
        let shape = "{prefix} {bar:24} {eta:>4} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self { bar, interval, by_count: length.is_none() }
    }

    /// Updates it after an interval.
    pub fn show(&self, tally: &Tally) {
        let done = tally.completions();
        self.bar.inc(if self.by_count { done } else { self.interval.as_millis() as u64 });
        let latencies = tally.reads.response.with(&tally.writes.response);
        let trouble = &tally.trouble;
        self.bar.set_message(format!(
            "{:.0} IOPS  p99 {:.0} us  resent {}  dropped {}  errors {}",
            done as f64 / self.interval.as_secs_f64(),
            latencies.us(0.99),
            trouble.retransmits,
            trouble.dropped,
            trouble.errors + trouble.refused + trouble.lost
        ));
    }

    /// Removes it from the terminal.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
