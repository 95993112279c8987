//! Rate limits of an export: of all requests, of each host, and of hosts over several exports.
//!
//! Each limit is a virtual schedule (the generic cell rate algorithm, ITU-T I.371): what is
//! used moves a point in time forward, by as long as the rate needs for it. While that point
//! is further ahead than the burst, requests wait. Each request counts in full, once, so the
//! rate is kept exactly, whatever the size of requests and however late a timer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::ata::SECTOR_LEN;
use crate::wire::ether::Mac;

/// A host gets no larger window than what a limit lets through in this time, so that its
/// requests wait for less time than it takes to resend them, also if ten hosts share it.
const WINDOW_MS: u64 = 10;

/// With a smaller window Linux never finds the device.
const WINDOW_MIN: u16 = 2;

const SECOND_NS: u64 = 1_000_000_000;

/// Requests and bytes per second; 0 for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Requests that reach the store: reads, writes, discards and flushes.
    pub iops: u32,
    /// Data that they read and write.
    pub bytes_per_second: u64,
    /// What may be used at once after a time without requests, as the time in which the rate
    /// allows as much.
    pub burst_ms: u32,
}

impl Rate {
    /// Whether there is no limit.
    pub fn is_unlimited(&self) -> bool {
        self.iops == 0 && self.bytes_per_second == 0
    }

    fn burst_ns(&self) -> u64 {
        u64::from(self.burst_ms) * 1_000_000
    }

    /// The largest window of a host for which its requests do not wait for long.
    fn window(&self, sectors_per_frame: u8) -> u64 {
        let frame = u64::from(sectors_per_frame.max(1)) * SECTOR_LEN as u64;
        let per_window = |per_second: u64| per_second.saturating_mul(WINDOW_MS) / 1_000;
        let limit = |per_second: u64| if per_second == 0 { u64::MAX } else { per_window(per_second) };
        limit(self.iops.into()).min(limit(self.bytes_per_second) / frame)
    }
}

/// What has been used of a rate. Several workers may count in one.
#[derive(Debug, Default)]
pub struct Meter {
    /// When the rate has caught up with the requests that ran, and with their data.
    requests_ns: AtomicU64,
    bytes_ns: AtomicU64,
}

impl Meter {
    /// The earliest time at which the next request may run.
    pub fn ready_ns(&self, rate: &Rate) -> u64 {
        let caught_up_ns =
            self.requests_ns.load(Ordering::Relaxed).max(self.bytes_ns.load(Ordering::Relaxed));
        caught_up_ns.saturating_sub(rate.burst_ns())
    }

    /// Counts a request with this much data. Returns when it may run.
    pub fn count(&self, rate: &Rate, bytes: u32, now_ns: u64) -> u64 {
        let requests_ns = advance(&self.requests_ns, SECOND_NS.checked_div(rate.iops.into()), now_ns);
        let cost_ns = (u64::from(bytes) * SECOND_NS).checked_div(rate.bytes_per_second);
        let bytes_ns = advance(&self.bytes_ns, cost_ns, now_ns);
        requests_ns.max(bytes_ns).saturating_sub(rate.burst_ns())
    }
}

/// Moves a point ahead by the cost, if there is a limit. Returns where it was.
fn advance(point_ns: &AtomicU64, cost_ns: Option<u64>, now_ns: u64) -> u64 {
    let Some(cost_ns) = cost_ns else { return 0 };
    let advanced = |ns: u64| Some(ns.max(now_ns).saturating_add(cost_ns));
    // Cannot fail. Other workers only add their requests.
    point_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advanced).unwrap_or(0)
}

/// A limit for each of some hosts, over all exports that have it.
#[derive(Debug)]
pub struct HostRate {
    rate: Rate,
    /// Sorted.
    hosts: Box<[(Mac, Meter)]>,
}

impl HostRate {
    /// The same limit for each of these hosts.
    pub fn new(rate: Rate, mut hosts: Vec<Mac>) -> Self {
        hosts.sort_unstable();
        hosts.dedup();
        Self { rate, hosts: hosts.into_iter().map(|mac| (mac, Meter::default())).collect() }
    }

    /// The limit of a host, if it has one here.
    fn of(&self, mac: Mac) -> Option<(&Rate, &Meter)> {
        let at = self.hosts.binary_search_by_key(&mac, |(mac, _)| *mac).ok()?;
        self.hosts.get(at).map(|(_, meter)| (&self.rate, meter))
    }
}

/// The limits that requests to an export count in.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Of the export.
    pub export: Rate,
    /// Of each host at this export.
    pub each_host: Rate,
    /// Of certain hosts.
    pub hosts: Arc<[Arc<HostRate>]>,
}

impl Rates {
    /// Whether there is no limit.
    pub fn is_unlimited(&self) -> bool {
        self.export.is_unlimited() && self.each_host.is_unlimited() && self.hosts.is_empty()
    }

    /// Whether the limits of certain hosts are the same, with what they have counted.
    pub fn has_same_hosts(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<HostRate>, &Arc<HostRate>)| Arc::ptr_eq(a, b);
        self.hosts.len() == other.hosts.len() && self.hosts.iter().zip(other.hosts.iter()).all(same)
    }

    /// The limits of a host over several exports.
    pub fn of_host(&self, mac: Mac) -> impl Iterator<Item = (&Rate, &Meter)> {
        self.hosts.iter().filter_map(move |limit| limit.of(mac))
    }

    /// The buffer count to advertise to a host, instead of this one.
    pub fn buffer_count(&self, mac: Mac, most: u16, sectors_per_frame: u8) -> u16 {
        let rates =
            [&self.export, &self.each_host].into_iter().chain(self.of_host(mac).map(|(rate, _)| rate));
        let window = rates.map(|rate| rate.window(sectors_per_frame)).min().unwrap_or(u64::MAX);
        u16::try_from(window).unwrap_or(u16::MAX).max(WINDOW_MIN).min(most)
    }
}

impl PartialEq for Rates {
    fn eq(&self, other: &Self) -> bool {
        (self.export, self.each_host) == (other.export, other.each_host) && self.has_same_hosts(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn host(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    /// The number of requests of this size that run in a time, with a timer that is late.
    fn run(rate: Rate, bytes: u32, from_ns: u64, to_ns: u64, late_ns: u64, meter: &Meter) -> u64 {
        let (mut now_ns, mut n) = (from_ns, 0);
        while now_ns < to_ns {
            match meter.ready_ns(&rate) {
                ready if ready <= now_ns => {
                    meter.count(&rate, bytes, now_ns);
                    n += 1;
                }
                ready => now_ns = ready + late_ns,
            }
        }
        n
    }

    #[test]
    fn a_rate_is_kept_exactly_after_its_burst() {
        for (iops, bytes_per_second, bytes, expected) in [
            (1_000, 0, 8192, 1_000),
            (0, 8_192_000, 8192, 1_000),
            (7, 0, 0, 7),
            (2_000, 8_192_000, 8192, 1_000),
        ] {
            let rate = Rate { iops, bytes_per_second, burst_ms: 100 };
            let meter = Meter::default();
            let first = run(rate, bytes, SECOND_NS, SECOND_NS + 1, 0, &meter);
            assert!(first.abs_diff(expected / 10) <= 1, "{first} at once, {rate:?}");
            let rest = run(rate, bytes, SECOND_NS + 1, 11 * SECOND_NS, 3 * MS, &meter);
            assert!(rest.abs_diff(10 * expected) <= expected / 100 + 1, "{rest} in 10 s, {rate:?}");
        }
    }

    #[test]
    fn a_request_larger_than_the_burst_runs_and_the_next_waits_for_as_long() {
        let rate = Rate { iops: 0, bytes_per_second: 1_000, burst_ms: 1 };
        let meter = Meter::default();
        assert_eq!(run(rate, 5_000, SECOND_NS, SECOND_NS + 1, 0, &meter), 1);
        assert_eq!(meter.ready_ns(&rate), 6 * SECOND_NS - MS);
    }

    #[test]
    fn a_limit_of_certain_hosts_counts_each_apart_and_no_other() {
        let limit =
            Arc::new(HostRate::new(Rate { iops: 1, ..Rate::default() }, vec![host(2), host(1), host(2)]));
        let rates = Rates { hosts: [limit].into(), ..Rates::default() };
        assert!(!rates.is_unlimited() && Rates::default().is_unlimited());
        let ready = |last| rates.of_host(host(last)).map(|(rate, meter)| meter.ready_ns(rate)).max();
        assert_eq!(rates.of_host(host(1)).map(|(rate, meter)| meter.count(rate, 0, 5)).max(), Some(0));
        assert_eq!([1, 2, 3].map(ready), [Some(SECOND_NS + 5), Some(0), None]);
        let again = HostRate::new(Rate { iops: 1, ..Rate::default() }, vec![host(1), host(2)]);
        assert!(
            rates == rates.clone() && rates != Rates { hosts: [Arc::new(again)].into(), ..Rates::default() }
        );
    }

    #[test]
    fn the_window_is_no_larger_than_what_the_limit_lets_through() {
        let rate = |iops, bytes_per_second| Rate { iops, bytes_per_second, burst_ms: 100 };
        for (export, each_host, expected) in [
            (rate(0, 0), rate(0, 0), 64),
            (rate(2_500, 0), rate(0, 0), 25),
            (rate(2_500, 0), rate(1_000, 0), 10),
            (rate(10, 0), rate(0, 0), 2),
            (rate(100_000, 0), rate(0, 0), 64),
            (rate(0, 16 * 512 * 100 * 5), rate(0, 0), 5),
            (rate(u32::MAX, u64::MAX), rate(0, 0), 64),
        ] {
            let rates = Rates { export, each_host, ..Rates::default() };
            assert_eq!(rates.buffer_count(host(1), 64, 16), expected, "{rates:?}");
        }
    }
}
