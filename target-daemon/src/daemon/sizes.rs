//! Exports that grow or shrink while they are served.

use std::time::{Duration, Instant};

use log::info;

use super::worker_pool::WorkerPool;
use crate::config::{Serve, in_largest_unit};
use crate::store::SECTOR_BYTES;
use crate::wire::aoe::Address;

/// The sizes that the operator and the hosts know of.
pub struct Sizes {
    known: Vec<(Address, u64)>,
    /// How often the stores are looked at; `None` for only when asked to.
    period: Option<Duration>,
    looked: Instant,
    /// A look that is due though its time has not come.
    is_due: bool,
}

impl Sizes {
    /// Those of the start.
    pub fn new(pool: &WorkerPool, options: &Serve) -> Self {
        let mut sizes = Self { known: pool.sizes(), period: None, looked: Instant::now(), is_due: false };
        sizes.set_period(options);
        sizes
    }

    /// Looks as often as the configuration says now.
    pub fn set_period(&mut self, options: &Serve) {
        let period = Duration::from_secs(options.measure_every.into());
        self.period = (!period.is_zero()).then_some(period);
    }

    /// The next round looks at the stores.
    pub fn look_now(&mut self) {
        self.is_due = true;
    }

    /// Has the stores looked at when it is time, and tells the operator and the
    /// hosts what has changed since the last round.
    pub fn follow(&mut self, pool: &WorkerPool, interfaces: usize, options: &Serve) {
        if self.is_due || self.period.is_some_and(|period| self.looked.elapsed() >= period) {
            self.is_due = !pool.measure();
            self.looked = Instant::now();
        }
        let now = pool.sizes();
        if now == self.known {
            return;
        }
        let before = |address| self.known.iter().find(|(known, _)| *known == address).map(|(_, size)| *size);
        let changes = now.iter().filter_map(|(address, now)| Some((*address, *now, before(*address)?)));
        let changes: Vec<_> = changes.filter(|(_, now, before)| now != before).collect();
        for (address, now, before) in &changes {
            info!(
                "{address}: {} now, was {}: hosts learn of it at once if they do not use it, else by \
                 `aoe-revalidate e{address}`",
                in_words(*now),
                in_words(*before)
            );
        }
        self.known = now;
        if changes.is_empty() {
            // Exports have come or gone.
            return;
        }
        for interface in 0..interfaces {
            pool.announce(interface, options);
        }
    }
}

/// A size in the largest unit of which it has one; as it is, if it has no whole
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
