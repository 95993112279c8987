//! The text rendered from a snapshot.

use std::collections::BTreeSet;

use xblade::control::metrics::{FAMILIES, Family, Format, Kind, render};

use crate::overview::overview;

/// A line with a value.
pub struct Sample {
    pub name: String,
    labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sample {
    /// Parses a line as written by this program: braces occur only around the labels and
    /// in values.
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
        let mut found = Vec::new();
        while let Some((label, rest)) = labels.split_once("=\"") {
            let end = (0..rest.len())
                .find(|at| {
                    let slashes = rest[..*at].bytes().rev().take_while(|b| *b == b'\\').count();
                    rest.as_bytes()[*at] == b'"' && slashes % 2 == 0
                })
                .unwrap_or_else(|| panic!("{line}"));
            found.push((label.trim_start_matches(',').to_owned(), rest[..end].to_owned()));
            labels = &rest[end + 1..];
        }
        assert!(labels.is_empty(), "{line}");
        Self { name: name.to_owned(), labels: found, value: value.parse().unwrap() }
    }

    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()))
    }

    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|wanted| self.labels().any(|label| label == *wanted))
    }
}

pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).map(Sample::parse).collect()
}

pub fn samples() -> Vec<Sample> {
    parse(&render(&overview(), Format::OpenMetrics))
}

fn family_of(name: &str) -> &'static Family {
    let is_of = |family: &&Family| match family.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|s| name.strip_suffix(s) == Some(family.name))
        }
        _ => family.queried() == name,
    };
    FAMILIES.iter().find(is_of).unwrap_or_else(|| panic!("{name} is in no family"))
}

/// The value of the only sample with this name and these labels.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let found: Vec<&Sample> = samples.iter().filter(|s| s.name == name && s.has(labels)).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}");
    found[0].value
}

#[test]
fn every_family_has_samples_with_its_labels_and_none_twice() {
    let samples = samples();
    let mut there = BTreeSet::new();
    let mut series = BTreeSet::new();
    for sample in &samples {
        let family = family_of(&sample.name);
        there.insert(family.name);
        for (label, _) in sample.labels() {
            assert!(family.labels.contains(&label) || label == "le", "{} has {label}", sample.name);
        }
        assert!(series.insert((&sample.name, &sample.labels)), "{} {:?}", sample.name, sample.labels);
    }
    for family in FAMILIES {
        assert!(there.contains(family.name), "{} has no sample", family.name);
    }
}

#[test]
fn values_are_those_of_the_snapshot() {
    let all = samples();
    let is = |name: &str, labels: &[(&str, &str)], wanted: f64| {
        assert!((value(&all, name, labels) - wanted).abs() < 1e-9, "{name} {labels:?}");
    };
    is("xblade_uptime_seconds", &[], 12.5);
    is("xblade_interface_up", &[("interface", "eth2.7")], 1.0);
    is("xblade_interface_mtu_bytes", &[("interface", "eth1")], 9000.0);
    is("xblade_xdp_frames_total", &[("interface", "eth1"), ("verdict", "redirected")], 300.0);
    is("xblade_dropped_frames_total", &[("where", "xdp"), ("reason", "acl"), ("interface", "eth2.7")], 409.0);
    is(
        "xblade_dropped_frames_total",
        &[("where", "ring"), ("reason", "rx_ring_full"), ("lane", "2")],
        13006.0,
    );
    is(
        "xblade_dropped_frames_total",
        &[("where", "worker"), ("reason", "too_short"), ("worker", "0")],
        1000.0,
    );
    is(
        "xblade_dropped_frames_total",
        &[("where", "room"), ("reason", "no_chunks"), ("worker", "1")],
        12002.0,
    );
    is("xblade_received_frames_total", &[("lane", "3"), ("interface", "eth2.7"), ("worker", "1")], 13000.0);
    is("xblade_lane_free_chunks", &[("lane", "1")], 200.0);
    is("xblade_worker_busy_seconds_total", &[("worker", "0")], 2.75);
    is("xblade_worker_idle_seconds_total", &[("worker", "1")], 7.25);
    is("xblade_store_faults_total", &[("worker", "0"), ("fault", "media")], 2003.0);
    is("xblade_inconsistencies_total", &[("worker", "1"), ("kind", "imbalance")], 12004.0);
    is("xblade_inconsistencies_total", &[("lane", "0"), ("kind", "bad_descriptor")], 3003.0);
    let export = ("export", "7.3");
    is("xblade_export_size_bytes", &[export], 1_048_576.0);
    is("xblade_export_stuck", &[export], 1.0);
    is("xblade_export_in_flight_requests", &[export], 9.0);
    is("xblade_export_reservation_holders", &[export], 2.0);
    is("xblade_export_requests_total", &[export, ("operation", "write"), ("outcome", "error")], 5.0);
    is("xblade_export_read_bytes_total", &[export], 4096.0);
    is("xblade_export_folded_writes_total", &[export], 6.0);
    let read = [export, ("operation", "read")];
    let bucket = |le| [export, ("operation", "read"), ("le", le)];
    is("xblade_export_response_seconds_bucket", &bucket("2e-05"), 1.0);
    is("xblade_export_response_seconds_count", &read, 3.0);
    is("xblade_export_service_seconds_bucket", &bucket("1e-05"), 1.0);
    is("xblade_export_service_seconds_bucket", &bucket("0.0001"), 2.0);
    is("xblade_export_service_seconds_bucket", &bucket("+Inf"), 3.0);
    is("xblade_export_service_seconds_count", &read, 3.0);
    is("xblade_export_store_seconds_bucket", &bucket("5e-05"), 2.0);
    // Read, write and flush always appear, others only if they occurred.
    is("xblade_export_service_seconds_count", &[export, ("operation", "flush")], 0.0);
    is("xblade_export_service_seconds_count", &[export, ("operation", "query")], 1.0);
    assert!(!all.iter().any(|s| s.name.contains("_seconds_") && s.has(&[("operation", "trim")])));
}

#[test]
fn an_interface_that_is_gone_or_down_is_not_up() {
    for change in [
        (|o| o.interfaces[0].present = false) as fn(&mut xblade::control::Snapshot),
        |o| o.interfaces[0].up = false,
        |o| o.interfaces[0].carrier = false,
    ] {
        let mut overview = overview();
        change(&mut overview);
        let samples = parse(&render(&overview, Format::OpenMetrics));
        assert_eq!(value(&samples, "xblade_interface_up", &[("interface", "eth1")]) as i64, 0);
        assert_eq!(value(&samples, "xblade_interface_up", &[("interface", "eth2.7")]) as i64, 1);
    }
}

/// Each counter that names a metric is exported, once and with all labels.
#[test]
fn every_counter_that_has_a_metric_is_exported() {
    let snapshot = overview();
    let samples = samples();
    let mut known = BTreeSet::new();
    let lanes = snapshot.lanes.iter().map(|one| &one.counters);
    let workers = snapshot.workers.iter().flat_map(|one| [&one.counters, &one.drops]);
    let interfaces = snapshot.interfaces.iter().map(|one| &one.counters);
    for count in interfaces.chain(lanes).chain(workers).flat_map(|counters| &counters.0) {
        let Some(metric) = count.metric else { continue };
        let labels = metric.labels.iter().filter(|label| !label.is_empty());
        let is_it = |s: &&Sample| {
            s.name == metric.family.queried() && s.value as u64 == count.value && {
                labels.clone().all(|wanted| s.labels().any(|(_, value)| value == *wanted))
            }
        };
        assert!(samples.iter().any(|s| is_it(&s)), "{count:?} is not exported");
        known.insert((metric.family.name, metric.labels));
    }
    assert!(known.len() > 40, "{known:?}");
    let told: f64 = samples
        .iter()
        .filter(|s| s.has(&[("lane", "0")]) && s.name.ends_with("_total"))
        .map(|s| s.value)
        .sum();
    let all: f64 = (3_000..3_011).map(f64::from).sum();
    assert!((told - all).abs() < 0.5, "{told} of {all}: a counter is left out");
}
