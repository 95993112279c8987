//! Latency histograms that can be stored.

use std::ops::Deref;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Significant digits of latencies.
const DIGITS: u8 = 3;
/// Maximum latency in nanoseconds; longer ones count as this.
const MAX_NS: u64 = 60_000_000_000;

/// A histogram of latencies, in nanoseconds, with three significant digits.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(into = "Packed", try_from = "Packed")]
pub struct Latencies(Histogram<u64>);

/// A compressed histogram: some kilobytes, where the histogram itself takes a few
/// hundred. The format is `HistogramV2Deflate`, as the tools of HdrHistogram read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Packed(String);

impl Latencies {
    /// Records a latency.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Records a latency of `count` requests.
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        // Cannot fail: all have the same limits.
        let _ = self.0.add(&other.0);
    }

    /// Clears it.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// At a quantile between 0 and 1, in microseconds.
    pub fn us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The largest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// Compresses it.
    pub fn pack(&self) -> Packed {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail, and these limits can be encoded.
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        Packed(BASE64_STANDARD.encode(&bytes))
    }
}

impl Default for Latencies {
    /// Empty.
    fn default() -> Self {
        match Histogram::new_with_bounds(1, MAX_NS, DIGITS) {
            Ok(empty) => Self(empty),
            Err(_) => unreachable!("constant limits, and every test makes one"),
        }
    }
}

impl Deref for Latencies {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Packed {
    /// The histogram; empty if it is damaged.
    pub fn unpack(&self) -> Latencies {
        self.decode().unwrap_or_default()
    }

    fn decode(&self) -> Option<Latencies> {
        let bytes = BASE64_STANDARD.decode(&self.0).ok()?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut all = Latencies::default();
        all.0.add(&read).ok()?;
        Some(all)
    }

    /// The base64 text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Latencies> for Packed {
    fn from(all: Latencies) -> Self {
        all.pack()
    }
}

impl TryFrom<Packed> for Latencies {
    type Error = &'static str;

    fn try_from(packed: Packed) -> Result<Self, &'static str> {
        packed.decode().ok_or("not a HistogramV2Deflate in base64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.pack().unpack(), latencies);
        for ns in [0, 1, 1_000, 123_456_789, MAX_NS, u64::MAX] {
            latencies.record(ns);
        }
        assert_eq!(latencies.pack().unpack(), latencies);
        let text = serde_json::to_string(&latencies).unwrap();
        assert_eq!(serde_json::from_str::<Latencies>(&text).unwrap(), latencies);
        let mut twice = latencies.clone();
        twice.add(&latencies);
        assert_eq!((latencies.len(), twice.len()), (6, 12));
        assert!(latencies.max() >= MAX_NS, "too long a latency counts as the longest");
        assert!(serde_json::from_str::<Latencies>("\"AAAA\"").is_err());
    }
}
