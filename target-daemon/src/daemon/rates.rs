//! The rate limits that are in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Export, ExportLimits, HostLimit, Limit, Serve};
use crate::shelf::{HostRate, Rate, Rates};
use crate::wire::aoe::Address;

/// The most addresses in a remark.
const SHOWN: usize = 4;

/// The `[[host-limit]]` of a configuration, each with what its hosts have used.
#[derive(Debug, Default)]
pub struct HostRates(Vec<(HostLimit, Arc<HostRate>)>);

impl HostRates {
    /// Those of a configuration that follows this one. One that is the same in both counts on.
    pub fn next(&self, wanted: &[HostLimit]) -> Self {
        let mut before: Vec<_> = self.0.iter().collect();
        let one = |limit: &HostLimit| {
            // Of two that are alike, each keeps its own.
            let same = before.iter().position(|(other, _)| other == limit).map(|at| before.remove(at));
            let new = || HostRate::new(rate(&limit.limit, limit.burst_ms), limit.hosts.clone());
            (limit.clone(), same.map_or_else(|| Arc::new(new()), |(_, rate)| Arc::clone(rate)))
        };
        Self(wanted.iter().map(one).collect())
    }

    /// The limits that requests to an export count in.
    pub fn of(&self, export: &Export) -> Rates {
        let ExportLimits { all_hosts, each_host, burst_ms } = &export.limits;
        let hosts = self.0.iter().filter(|(limit, _)| limit.is_for(export.address));
        Rates {
            export: rate(all_hosts, *burst_ms),
            each_host: rate(each_host, *burst_ms),
            hosts: hosts.map(|(_, rate)| Arc::clone(rate)).collect(),
        }
    }
}

fn rate(limit: &Limit, burst_ms: u32) -> Rate {
    let Limit { iops, bytes_per_second } = *limit;
    match limit.is_none() {
        true => Rate::default(),
        false => Rate { iops: iops.unwrap_or(0), bytes_per_second: bytes_per_second.unwrap_or(0), burst_ms },
    }
}

/// What a configuration limits and does not export, for the operator to look at.
pub fn remarks(serve: &Serve) -> Vec<String> {
    let there: BTreeSet<Address> = serve.exports.iter().map(|export| export.address).collect();
    let one = |limit: &HostLimit| {
        let missing = limit.exports.iter().filter(|address| !there.contains(address));
        let missing: Vec<String> = missing.take(SHOWN).map(ToString::to_string).collect();
        let host = limit.hosts.first().filter(|_| !missing.is_empty())?;
        Some(format!(
            "the host-limit of {host}{} counts requests to {}, which is not exported: correct exports there, or add \
             what is missing by `xblade export add`",
            if limit.hosts.len() > 1 { " and others" } else { "" },
            missing.join(", ")
        ))
    };
    serve.host_limits.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ether::Mac;

    fn limit(host: u8, exports: &[&str], iops: u32) -> HostLimit {
        HostLimit {
            hosts: vec![Mac([2, 0, 0, 0, 0, host])],
            exports: exports.iter().map(|address| address.parse().unwrap()).collect(),
            limit: Limit { iops: Some(iops), bytes_per_second: None },
            burst_ms: 100,
        }
    }

    #[test]
    fn what_stays_the_same_counts_on() {
        let [first, second]: [Export; 2] = ["0.1=/a", "0.2=/b,iops=7"].map(|text| text.parse().unwrap());
        let (a, b, c) = (limit(1, &[], 300), limit(2, &["0.2"], 300), limit(3, &[], 5));
        let now = HostRates::default().next(&[a.clone(), b.clone()]);
        assert_eq!((now.of(&first).hosts.len(), now.of(&second).hosts.len()), (1, 2));
        assert!(now.of(&first) == now.next(&[a.clone(), b.clone()]).of(&first));
        // In another place, and beside others.
        let next = now.next(&[c.clone(), b.clone(), a.clone()]);
        assert!(Arc::ptr_eq(&next.of(&first).hosts[1], &now.of(&first).hosts[0]));
        assert!(Arc::ptr_eq(&next.of(&second).hosts[1], &now.of(&second).hosts[1]));
        // One that is changed starts again, the other does not.
        let next = now.next(&[limit(1, &[], 301), b]);
        assert!(next.of(&first) != now.of(&first));
        assert!(Arc::ptr_eq(&next.of(&second).hosts[1], &now.of(&second).hosts[1]));
        // Two that are alike count apart, also after a reload.
        let twice = HostRates::default().next(&[a.clone(), a.clone()]);
        for rates in [twice.of(&first), twice.next(&[a.clone(), a]).of(&first)] {
            assert!(!Arc::ptr_eq(&rates.hosts[0], &rates.hosts[1]));
        }
        assert_eq!(now.of(&second).export, Rate { iops: 7, bytes_per_second: 0, burst_ms: 100 });
        assert!(HostRates::default().of(&first) == Rates::default());
    }
}
