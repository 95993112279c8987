//! Metrics of the process, its interfaces, lanes and workers.

use super::family;
use super::text::{Exposition, Samples};
use crate::control::Overview;
use crate::link::Counter;
use crate::worker::{LanePlace, Snapshot};

/// Lane counters ([`crate::observe::Section`]) of lost frames, and the reasons under
/// which they are exported.
const RING_DROPS: [(&str, &str); 3] = [
    ("kernel_rx_ring_full", "rx_ring_full"),
    ("kernel_fill_ring_empty", "fill_ring_empty"),
    ("kernel_rx_dropped", "rx_dropped"),
];

/// Lane counters that only a bug can raise.
const LANE_INCONSISTENCIES: [(&str, &str); 4] = [
    ("bad_descriptors", "bad_descriptor"),
    ("bad_completions", "bad_completion"),
    ("kernel_rx_invalid", "rx_invalid"),
    ("kernel_tx_invalid", "tx_invalid"),
];

/// Version and uptime.
pub fn process(to: &mut Exposition, overview: &Overview) {
    to.family(&family::BUILD).value(&[env!("CARGO_PKG_VERSION")], 1);
    to.family(&family::UPTIME).value(&[], overview.up.as_secs_f64());
}

/// Interfaces, and the counters of their XDP programs.
pub fn interfaces(to: &mut Exposition, overview: &Overview) {
    let all = &overview.interfaces;
    let mut info = to.family(&family::INTERFACE);
    for interface in all {
        let facts = &interface.facts;
        let mac = crate::wire::ether::Mac(facts.mac).to_string();
        info.value(&[&facts.name, &mac, &facts.driver, interface.mode], 1);
    }
    let mut up = to.family(&family::INTERFACE_UP);
    for interface in all {
        let live = interface.present && interface.facts.up && interface.facts.carrier;
        up.value(&[&interface.facts.name], u8::from(live));
    }
    let mut mtu = to.family(&family::INTERFACE_MTU);
    for interface in all {
        mtu.value(&[&interface.facts.name], interface.facts.mtu);
    }
    let mut frames = to.family(&family::XDP_FRAMES);
    for interface in all {
        for (counter, n) in Counter::ALL.iter().zip(interface.counters).filter(|(c, _)| !c.is_drop()) {
            frames.value(&[&interface.facts.name, counter.name()], n);
        }
    }
    let mut dropped = to.family(&family::DROPPED);
    drops(overview, |labels, n| {
        dropped.value(labels, n);
    });
}

/// Calls `to` for each place where a frame can be dropped, in the order of the data path,
/// with the labels of [`family::DROPPED`]; the first label is the place.
pub fn drops(overview: &Overview, mut to: impl FnMut(&[&str; 5], u64)) {
    for interface in &overview.interfaces {
        for (counter, n) in Counter::ALL.iter().zip(interface.counters).filter(|(c, _)| c.is_drop()) {
            to(&["xdp", counter.name(), &interface.facts.name, "", ""], n);
        }
    }
    for lane in all_lanes(overview) {
        let [interface, worker, id] = lane.labels();
        for (counter, reason) in RING_DROPS {
            to(&["ring", reason, interface, worker, id], lane.counted(counter));
        }
        to(&["lane", "too_long", interface, worker, id], lane.counted("too_long"));
    }
    for snapshot in &overview.workers {
        let worker = snapshot.worker.to_string();
        for (reason, n) in snapshot.stats.drop_rows() {
            to(&["worker", reason, "", &worker, ""], n);
        }
        for (reason, n) in for_want_of_room(snapshot) {
            to(&["room", reason, "", &worker, ""], n);
        }
    }
}

/// Valid frames dropped for lack of memory, queue space or time.
fn for_want_of_room(snapshot: &Snapshot) -> [(&'static str, u64); 8] {
    let counters = &snapshot.stats.counters;
    [
        ("hand_over_full", counters.hand_over_full),
        ("late_write", counters.late_writes),
        ("late_set", counters.late_sets),
        ("slab_full", counters.slab_full),
        ("store_full", counters.store_full),
        ("no_chunks", counters.no_chunks),
        ("tx_full", counters.tx_full),
        ("follower_released", counters.followers_released),
    ]
}

/// Frames through the rings, and memory for them.
pub fn lanes(to: &mut Exposition, overview: &Overview) {
    let all: Vec<Lane<'_>> = all_lanes(overview).collect();
    for (family, counter) in
        [(&family::RECEIVED, "received"), (&family::UNSTAMPED, "unstamped"), (&family::SENT, "transmitted")]
    {
        let mut frames = to.family(family);
        for lane in &all {
            frames.value(&lane.labels(), lane.counted(counter));
        }
    }
    let mut chunks = to.family(&family::CHUNKS);
    for lane in &all {
        chunks.value(&lane.labels(), lane.place.chunks);
    }
    let mut free = to.family(&family::CHUNKS_FREE);
    for lane in &all {
        free.value(&lane.labels(), lane.place.free);
    }
}

/// What workers do, and the errors of their stores.
pub fn workers(to: &mut Exposition, overview: &Overview) {
    let mut each = |family, value: fn(&Snapshot) -> f64| {
        let mut samples = to.family(family);
        for snapshot in &overview.workers {
            samples.value(&[&snapshot.worker.to_string()], value(snapshot));
        }
    };
    each(&family::BUSY, |s| s.elapsed.saturating_sub(s.stats.idle).as_secs_f64());
    each(&family::IDLE, |s| s.stats.idle.as_secs_f64());
    each(&family::SLEEPS, |s| s.stats.counters.sleeps as f64);
    each(&family::REPLIES, |s| s.stats.counters.replies as f64);
    each(&family::HANDED_OVER, |s| s.stats.counters.handed_over as f64);
    each(&family::STUCK_OPERATIONS, |s| s.stats.counters.stuck_operations as f64);
    each(&family::TAGS_REUSED, |s| s.stats.counters.tags_reused as f64);
    each(&family::NOT_REMEMBERED, |s| s.stats.counters.not_remembered as f64);
    each(&family::KICK_ERRORS, |s| s.stats.counters.kick_errors as f64);
    let mut faults = to.family(&family::FAULTS);
    for snapshot in &overview.workers {
        let (worker, counters) = (snapshot.worker.to_string(), &snapshot.stats.counters);
        for (fault, n) in [
            ("media", counters.media_faults),
            ("no_space", counters.no_space_faults),
            ("transient", counters.transient_faults),
            ("other", counters.other_faults),
        ] {
            faults.value(&[&worker, fault], n);
        }
    }
    inconsistencies(&mut to.family(&family::INCONSISTENCIES), overview);
}

fn inconsistencies(to: &mut Samples<'_>, overview: &Overview) {
    for lane in all_lanes(overview) {
        let [_, worker, id] = lane.labels();
        for (counter, kind) in LANE_INCONSISTENCIES {
            to.value(&[worker, id, kind], lane.counted(counter));
        }
    }
    for snapshot in &overview.workers {
        let (worker, counters) = (snapshot.worker.to_string(), &snapshot.stats.counters);
        for (kind, n) in [
            ("unsendable", counters.unsendable),
            ("stale_completion", counters.stale_completions),
            ("imbalance", counters.imbalances),
        ] {
            to.value(&[&worker, "", kind], n);
        }
    }
}

/// A lane with the texts of its labels.
struct Lane<'a> {
    place: LanePlace,
    counters: &'a [(&'static str, u64)],
    interface: &'a str,
    worker: String,
    id: String,
}

fn all_lanes(overview: &Overview) -> impl Iterator<Item = Lane<'_>> {
    overview.workers.iter().flat_map(|snapshot| {
        snapshot.places.iter().zip(&snapshot.lanes).map(|(place, section)| Lane {
            place: *place,
            counters: &section.counters,
            interface: overview.interfaces.get(place.interface).map_or("", |i| i.facts.name.as_str()),
            worker: snapshot.worker.to_string(),
            id: place.id.to_string(),
        })
    })
}

impl Lane<'_> {
    fn labels(&self) -> [&str; 3] {
        [self.interface, &self.worker, &self.id]
    }

    fn counted(&self, name: &str) -> u64 {
        self.counters.iter().find(|(counter, _)| *counter == name).map_or(0, |(_, n)| *n)
    }
}
