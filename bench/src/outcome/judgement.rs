//! Warnings about an outcome.

use super::Outcome;

/// Minimum meaningful length of a run, in seconds.
const SHORT_S: f64 = 1.0;
/// If idle time is below this fraction, the generator may be the bottleneck.
const IDLE_LOW: f64 = 0.05;

impl Outcome {
    /// Whether every request was served correctly.
    pub fn is_good(&self) -> bool {
        let t = &self.trouble;
        let faults = self.verify.as_ref().is_some_and(|v| !v.faults.is_empty());
        // With a check of the data, replies without a request make the run fail.
        let strays = self.verify.is_some() && t.unexpected > 0;
        t.failed() == 0 && !faults && !strays && self.completions() > 0
    }

    /// Reasons why it may be misleading.
    pub fn suspicions(&self) -> Vec<String> {
        let (t, s) = (&self.trouble, &self.setup);
        let unchecked = self.verify.as_ref().is_some_and(|v| v.checked == 0);
        let mut found = counted([
            (t.retransmits, "requests were sent again: frames or time were lost"),
            (t.unsent, "requests were due and never sent: the rate is more than can be served"),
            (t.dropped, "frames were dropped on this side: use a smaller --window"),
            (t.unexpected, "replies were not to any request of this run"),
        ]);
        found.extend(applying([
            (self.seconds < SHORT_S, format!("{:.2} s is too short to say much", self.seconds)),
            (
                s.window > s.buffer_count,
                format!("the window of {} is beyond the {} that the export allows", s.window, s.buffer_count),
            ),
            (
                self.idle < IDLE_LOW,
                format!(
                    "the generator was busy {:.0} % of the time: it may be the limit itself",
                    (1.0 - self.idle) * 100.0
                ),
            ),
            (unchecked, "no sector that was read could be checked: none was stamped".to_owned()),
        ]));
        found
    }
}

/// The texts that apply.
pub fn applying(all: impl IntoIterator<Item = (bool, String)>) -> Vec<String> {
    all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
}

/// The texts with their counts, where those are not zero.
pub fn counted<const N: usize>(all: [(u64, &str); N]) -> Vec<String> {
    all.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
}
