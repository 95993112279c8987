//! The result of a run, as it is printed and stored.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::report::{Table, bars};

use super::measure::Measured;
use super::stamp::Fault;
use super::tally::Tally;
use super::verify::Verifier;

/// A run below this length says little, in seconds.
const SHORT_S: f64 = 1.0;
/// Below this share of idle time the generator is suspected to be the limit.
const IDLE_LOW: f64 = 0.05;

/// The result of a run.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
pub struct Summary {
    /// The version of this program.
    pub version: String,
    /// How it was set up.
    pub setup: Setup,
    /// How long requests were sent, in seconds.
    pub seconds: f64,
    /// Requests completed a second.
    pub iops: f64,
    /// Data a second, in 10⁶ bytes.
    pub mb_per_s: f64,
    /// All latencies.
    pub latency: Latency,
    /// Those of reads.
    pub reads: Latency,
    /// Those of writes.
    pub writes: Latency,
    /// What went wrong, to the end of the run.
    pub trouble: Trouble,
    /// What the check of the data found, if there was one.
    pub verify: Option<Verified>,
    /// CPU time that a watched target took for each request, in nanoseconds.
    pub target_ns_per_request: Option<f64>,
    /// How much of that was in the target's program, and not in the kernel.
    pub target_user_ns_per_request: Option<f64>,
    /// Share of the time that its core was busy.
    pub target_core_busy: Option<f64>,
    /// Share of the time that the generator had nothing to do.
    pub idle: f64,
    /// Why the result may not be what it seems.
    pub warnings: Vec<String>,
}

/// How a run was set up.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
pub struct Setup {
    /// The export.
    pub export: String,
    /// The port.
    pub port: String,
    /// read, write or mixed.
    pub op: String,
    /// Whether the addresses follow each other.
    pub sequential: bool,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight.
    pub window: u16,
    /// Requests in flight that the export allows.
    pub buffer_count: u16,
    /// Seed of addresses and stamps.
    pub seed: u32,
}

/// Latencies in microseconds.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
#[allow(missing_docs)]
pub struct Latency {
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// Counts of what should be zero; `Tally` says what each is.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
#[allow(missing_docs)]
pub struct Trouble {
    pub retransmits: u64,
    pub late: u64,
    pub duplicates: u64,
    pub unexpected: u64,
    pub errors: u64,
    pub refused: u64,
    pub lost: u64,
    /// Frames dropped on the generator's side.
    pub dropped: u64,
    pub last_error: Option<String>,
}

/// What the check of the data found.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
pub struct Verified {
    /// Sectors checked.
    pub checked: u64,
    /// Sectors of which nothing was known.
    pub unchecked: u64,
    /// Faults by kind; only kinds that occurred.
    pub faults: Vec<(String, u64)>,
    /// The first faults in full.
    pub examples: Vec<String>,
}

impl From<&Histogram<u64>> for Latency {
    fn from(ns: &Histogram<u64>) -> Self {
        let us = |quantile| ns.value_at_quantile(quantile) as f64 / 1e3;
        let max_us = ns.max() as f64 / 1e3;
        Self {
            count: ns.len(),
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us,
        }
    }
}

impl Trouble {
    fn new(tally: &Tally, dropped: u64) -> Self {
        Self {
            retransmits: tally.retransmits,
            late: tally.late,
            duplicates: tally.duplicates,
            unexpected: tally.unexpected,
            errors: tally.errors,
            refused: tally.refused,
            lost: tally.lost,
            dropped,
            last_error: tally.last_error.clone(),
        }
    }
}

impl From<&Verifier> for Verified {
    fn from(verifier: &Verifier) -> Self {
        let kinds = Fault::NAMES.into_iter().zip(verifier.faults);
        let example = |e: &super::verify::Example| match e.wanted {
            0 => format!("sector {}: {}", e.lba, e.fault),
            wanted => format!("sector {} should hold write {wanted}: {}", e.lba, e.fault),
        };
        Self {
            checked: verifier.checked,
            unchecked: verifier.unchecked,
            faults: kinds.filter(|&(_, n)| n > 0).map(|(name, n)| (name.to_owned(), n)).collect(),
            examples: verifier.examples.iter().map(example).collect(),
        }
    }
}

impl Summary {
    /// Puts the result together: `measured` is the timed part, `whole` the run
    /// to its end, reading back included.
    pub fn new(
        setup: Setup,
        measured: &Measured,
        whole: &Tally,
        verifier: Option<&Verifier>,
        dropped: u64,
    ) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let per_request = |ns: u64| ns as f64 / measured.tally.completions().max(1) as f64;
        let iops = measured.tally.completions() as f64 / seconds.max(1e-9);
        let mut summary = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds,
            iops,
            mb_per_s: iops * f64::from(setup.sectors) * 512.0 / 1e6,
            latency: (&measured.tally.latency_ns()).into(),
            reads: (&measured.tally.reads).into(),
            writes: (&measured.tally.writes).into(),
            trouble: Trouble::new(whole, dropped),
            verify: verifier.map(Verified::from),
            target_ns_per_request: measured
                .cost
                .map(|cost| per_request(cost.cpu.user_ns + cost.cpu.system_ns)),
            target_user_ns_per_request: measured.cost.map(|cost| per_request(cost.cpu.user_ns)),
            target_core_busy: measured.cost.and_then(|cost| cost.core_busy),
            idle: measured.idle,
            setup,
            warnings: Vec::new(),
        };
        summary.warnings = summary.suspicions();
        summary
    }

    /// Whether every request was served as it should be.
    pub fn is_good(&self) -> bool {
        let t = &self.trouble;
        let faults = self.verify.as_ref().is_some_and(|v| !v.faults.is_empty());
        t.errors + t.refused + t.lost == 0 && !faults && self.latency.count > 0
    }

    fn suspicions(&self) -> Vec<String> {
        let (t, s) = (&self.trouble, &self.setup);
        let unchecked = self.verify.as_ref().is_some_and(|v| v.checked == 0);
        let all = [
            (
                t.retransmits > 0,
                format!("{} requests were sent again: frames or time were lost", t.retransmits),
            ),
            (
                t.dropped > 0,
                format!("{} frames were dropped on this side: use a smaller --window", t.dropped),
            ),
            (t.unexpected > 0, format!("{} replies were not to any request of this run", t.unexpected)),
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
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
    }

    /// The table and bars for people.
    pub fn text(&self, latency_ns: &Histogram<u64>) -> String {
        let s = &self.setup;
        let order = if s.sequential { "sequential" } else { "random" };
        let mut out = format!(
            "export {}: {order} {} of {} sectors, {} in flight, {:.1} s through {}\n\n",
            s.export, s.op, s.sectors, s.window, self.seconds, s.port
        );
        let mut table = Table::new(["", "IOPS", "MB/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"]);
        for (name, latency) in [("all", &self.latency), ("read", &self.reads), ("write", &self.writes)] {
            if latency.count > 0 && (name == "all" || latency.count < self.latency.count) {
                table.row(self.row(name, latency));
            }
        }
        out += &table.text();
        out += &format!("\nlatency of {} requests\n{}", self.latency.count, bars(latency_ns));
        out += &self.trouble_text();
        out
    }

    fn row(&self, name: &str, l: &Latency) -> [String; 8] {
        let share = l.count as f64 / self.latency.count.max(1) as f64;
        let us = [l.p50_us, l.p90_us, l.p99_us, l.p999_us, l.max_us].map(|us| format!("{us:.1}"));
        let [p50, p90, p99, p999, max] = us;
        [
            name.to_owned(),
            format!("{:.0}", self.iops * share),
            format!("{:.1}", self.mb_per_s * share),
            p50,
            p90,
            p99,
            p999,
            max,
        ]
    }

    fn trouble_text(&self) -> String {
        let t = &self.trouble;
        let mut out = format!(
            "\nretransmits {}  late {}  duplicates {}  unexpected {}  dropped {}  errors {}  refused {}  lost {}\n",
            t.retransmits, t.late, t.duplicates, t.unexpected, t.dropped, t.errors, t.refused, t.lost
        );
        if let Some(error) = &t.last_error {
            out += &format!("last error: {error}\n");
        }
        if let Some(ns) = self.target_ns_per_request {
            let user_ns = self.target_user_ns_per_request.unwrap_or(0.0);
            out += &format!("target: {ns:.0} ns of CPU a request ({user_ns:.0} of them user time)");
            out += &self
                .target_core_busy
                .map_or(String::new(), |busy| format!(", core {:.0} % busy", busy * 100.0));
            out += "\n";
        }
        if let Some(v) = &self.verify {
            let faults: Vec<String> = v.faults.iter().map(|(name, n)| format!("{n} {name}")).collect();
            let faults = if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") };
            out += &format!("verify: {} sectors checked, {} not known, {faults}\n", v.checked, v.unchecked);
            out.extend(v.examples.iter().map(|example| format!("  {example}\n")));
        }
        out.extend(self.warnings.iter().map(|warning| format!("warning: {warning}\n")));
        out
    }
}
