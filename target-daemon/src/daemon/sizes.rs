//! Exports that grow or shrink while they are served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::info;

use super::worker_pool::WorkerPool;
use crate::config::{Serve, in_largest_unit};
use crate::store::SECTOR_BYTES;
use crate::wire::aoe::Address;

/// The sizes last reported to the operator and the hosts.
pub struct Sizes {
    known: BTreeMap<Address, u64>,
    looked: Instant,
    /// A measurement was requested, or could not reach every worker.
    is_due: bool,
}

impl Sizes {
    /// Starts with the current sizes.
    pub fn new(pool: &WorkerPool) -> Self {
        Self { known: pool.directory.sizes().collect(), looked: Instant::now(), is_due: false }
    }

    /// Measures the stores in the next pass.
    pub fn look_now(&mut self) {
        self.is_due = true;
    }

    /// Measures the stores when it is time, and reports changes since the last pass to the
    /// operator and the hosts.
    pub fn follow(&mut self, pool: &WorkerPool, options: &Serve) {
        let period = Duration::from_secs(options.measure_every.into());
        if self.is_due || !period.is_zero() && self.looked.elapsed() >= period {
            self.is_due = !pool.measure();
            self.looked = Instant::now();
        }
        let now: BTreeMap<Address, u64> = pool.directory.sizes().collect();
        let mut has_changed = false;
        // Others have come or gone.
        let both = now.iter().filter_map(|(address, now)| Some((address, *now, *self.known.get(address)?)));
        for (address, now, before) in both.filter(|(_, now, before)| now != before) {
            info!(
                "{address}: {} now, was {}: hosts learn of it at once if they do not use it, else by \
                 `aoe-revalidate e{address}`",
                in_words(now),
                in_words(before)
            );
            has_changed = true;
        }
        self.known = now;
        if has_changed {
            pool.announce_all(options, &options.exports);
        }
    }
}

/// A size in the largest unit of which it has at least one, or in bytes if it has no whole
/// kibibyte.
pub fn in_words(sectors: u64) -> String {
    let bytes = sectors.saturating_mul(SECTOR_BYTES);
    in_largest_unit(bytes).unwrap_or_else(|| format!("{bytes} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_fits() {
        for (sectors, words) in [
            (1, "512 bytes"),
            (2, "1.0 KiB"),
            (3, "1.5 KiB"),
            (64, "32.0 KiB"),
            (2048, "1.0 MiB"),
            (20 << 20, "10.0 GiB"),
            (3 << 30, "1.5 TiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(in_words(sectors), words, "{sectors}");
        }
    }
}
