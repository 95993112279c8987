//! The table of settings: where each is, what is wanted, and why.

use std::collections::BTreeSet;
use std::fmt;

use super::machine::Machine;
use super::{Line, Mark, Scope};
use crate::config::{CoreList, Demands};
use crate::link::NicSetting;

/// What is wanted; `None` if a setting is left alone.
type Wanted = fn(&Demands, &Machine) -> Option<Want>;

/// A setting.
pub struct Row {
    /// Its name for the operator.
    pub name: &'static str,
    /// Where it is.
    pub source: Source,
    want: Wanted,
    /// The reason.
    why: &'static str,
}

/// Where a setting is.
#[derive(Clone, Copy)]
pub enum Source {
    /// In files, by a pattern for their paths, with `{if}` for the interface.
    Files(&'static str, Format),
    /// In the NIC.
    Nic(NicSetting),
}

/// The format of a file.
#[derive(Clone, Copy)]
pub enum Format {
    /// As it is.
    Text,
    /// All possible words, with the current one in brackets.
    Choice,
    /// A list of cores.
    Cores,
    /// A bit mask.
    Mask,
}

impl Format {
    /// Extracts the current value from a file's text, in the form in which it would be
    /// written.
    pub fn normal(self, text: &str) -> Option<String> {
        Some(match self {
            Self::Text => text.to_owned(),
            Self::Choice => text.rsplit('[').next()?.split(']').next()?.to_owned(),
            Self::Cores => text.parse::<CoreList>().ok()?.to_string(),
            Self::Mask => Some(text.trim_start_matches(['0', ',']))
                .filter(|mask| !mask.is_empty())
                .unwrap_or("0")
                .to_owned(),
        })
    }
}

/// A wanted value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// This one.
    Is(String),
    /// This number or a larger one.
    AtLeast(u64),
    /// This number or a smaller one.
    AtMost(u64),
    /// These cores, or some of them.
    Within(CoreList),
}

impl Want {
    /// Whether a value is as wanted.
    pub fn is_met_by(&self, now: &str) -> bool {
        let number = || now.parse::<u64>().ok();
        match self {
            Self::Is(wanted) => now == wanted,
            Self::AtLeast(least) => number().is_some_and(|now| now >= *least),
            Self::AtMost(most) => number().is_some_and(|now| now <= *most),
            Self::Within(cores) => now.parse().is_ok_and(|now: CoreList| now.is_within(cores)),
        }
    }
}

/// The value to set.
impl fmt::Display for Want {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(wanted) => to.write_str(wanted),
            Self::AtLeast(wanted) | Self::AtMost(wanted) => wanted.fmt(to),
            Self::Within(cores) => cores.fmt(to),
        }
    }
}

const fn file(
    name: &'static str,
    pattern: &'static str,
    format: Format,
    want: Wanted,
    why: &'static str,
) -> Row {
    Row { name, source: Source::Files(pattern, format), want, why }
}

const fn nic(name: &'static str, setting: NicSetting, want: Wanted, why: &'static str) -> Row {
    Row { name, source: Source::Nic(setting), want, why }
}

/// The name of the row of [`MACHINE`] without which a configuration with huge pages
/// cannot be served.
pub const HUGE_PAGES: &str = "huge-pages";

/// The settings of the whole machine.
pub const MACHINE: &[Row] = &[
    file(
        "governor",
        "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
        Format::Text,
        |_, _| is("performance"),
        "a core that is clocked down answers late",
    ),
    file(
        "transparent-hugepages",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        Format::Choice,
        |_, _| is("madvise"),
        "'always' stops processes while it collects pages",
    ),
    file(
        "numa_balancing",
        "/proc/sys/kernel/numa_balancing",
        Format::Text,
        |_, _| is("0"),
        "it unmaps pages to see who uses them",
    ),
    file(
        "vm.stat_interval",
        "/proc/sys/vm/stat_interval",
        Format::Text,
        |_, _| is("10"),
        "statistics of memory interrupt every core",
    ),
    file(
        "vm.compaction",
        "/proc/sys/vm/compaction_proactiveness",
        Format::Text,
        |_, _| is("0"),
        "it moves memory in the background",
    ),
    file(
        "vm.min_free_kbytes",
        "/proc/sys/vm/min_free_kbytes",
        Format::Text,
        |_, _| Some(Want::AtLeast(65536)),
        "frames are lost when the kernel has no memory at once",
    ),
    file(
        "bpf_jit_enable",
        "/proc/sys/net/core/bpf_jit_enable",
        Format::Text,
        |_, _| is("1"),
        "else the XDP program is interpreted",
    ),
    file(
        "netdev_max_backlog",
        "/proc/sys/net/core/netdev_max_backlog",
        Format::Text,
        |_, _| Some(Want::AtLeast(4096)),
        "frames that wait for a core (veth, RPS) are lost beyond it",
    ),
    file(
        "watchdog_cpumask",
        "/proc/sys/kernel/watchdog_cpumask",
        Format::Cores,
        |demands, machine| others(demands, machine).filter(|_| !demands.cores.0.is_empty()),
        "the watchdog wakes each core that it watches",
    ),
    file(
        HUGE_PAGES,
        "/proc/sys/vm/nr_hugepages",
        Format::Text,
        |demands, _| demands.huge_pages.map(Want::AtLeast),
        "UMEM and files on huge pages need them",
    ),
];

/// The settings of an interface.
pub const INTERFACE: &[Row] = &[
    nic(
        "ring-rx",
        NicSetting::RX_RING,
        |demands, machine| ring(demands, machine, NicSetting::RX_RING_MAX),
        "a burst that finds it full is lost",
    ),
    nic(
        "ring-tx",
        NicSetting::TX_RING,
        |demands, machine| ring(demands, machine, NicSetting::TX_RING_MAX),
        "a burst that finds it full is lost",
    ),
    nic(
        "adaptive-rx",
        NicSetting::ADAPTIVE_RX,
        |_, _| is("off"),
        "it guesses how long an interrupt may wait",
    ),
    nic(
        "rx-usecs",
        NicSetting::RX_USECS,
        |demands, _| Some(Want::AtMost(demands.coalesce.into())),
        "each microsecond is in every reply",
    ),
    nic(
        "pause-rx",
        NicSetting::PAUSE_RX,
        |_, _| is("on"),
        "the switch can say wait, rather than lose a reply (it needs flow control too)",
    ),
    nic(
        "pause-tx",
        NicSetting::PAUSE_TX,
        |_, _| is("on"),
        "the NIC can say wait, rather than lose a request: one lost frame can stall a host for seconds",
    ),
    nic(
        "rxvlan",
        NicSetting::RX_VLAN,
        |_, _| is("off"),
        "the tag has to be in the frame: VLANs are told apart by it, and the reply needs it",
    ),
    nic(
        "rx-vlan-stag-hw-parse",
        NicSetting::RX_SERVICE_VLAN,
        |_, _| is("off"),
        "the tag has to be in the frame: VLANs are told apart by it, and the reply needs it",
    ),
    nic(
        "rx-vlan-filter",
        NicSetting::RX_VLAN_FILTER,
        |demands, _| is("off").filter(|_| demands.vlans),
        "it drops frames of VLANs that have no VLAN interface",
    ),
    file(
        "mtu",
        "/sys/class/net/{if}/mtu",
        Format::Text,
        |demands, _| demands.mtu.and_then(is),
        "more sectors a frame",
    ),
    file(
        "rps",
        "/sys/class/net/{if}/queues/rx-*/rps_cpus",
        Format::Mask,
        |_, _| is("0"),
        "it moves frames to other cores",
    ),
    file(
        "xps",
        "/sys/class/net/{if}/queues/tx-*/xps_cpus",
        Format::Mask,
        |_, _| is("0"),
        "xblade chooses the queue itself",
    ),
    file(
        "napi_defer_hard_irqs",
        "/sys/class/net/{if}/napi_defer_hard_irqs",
        Format::Text,
        |demands, _| if demands.busy_poll { Some(Want::AtLeast(2)) } else { is(0) },
        "interrupts can wait if and only if the workers poll (--busy-poll)",
    ),
    file(
        "gro_flush_timeout",
        "/sys/class/net/{if}/gro_flush_timeout",
        Format::Text,
        |demands, _| is(200000).filter(|_| demands.busy_poll),
        "how long frames may wait for others, in nanoseconds",
    ),
    INTERRUPT,
];

/// An interrupt of the NIC. [`settings`] adds one for each queue.
const INTERRUPT: Row = file("irq", "/proc/irq/*/smp_affinity_list", Format::Cores, |_, _| None, "");

fn is(value: impl ToString) -> Option<Want> {
    Some(Want::Is(value.to_string()))
}

fn ring(demands: &Demands, machine: &Machine, max: NicSetting) -> Option<Want> {
    let most = machine.nic.read(max).filter(|max| *max > 0);
    Some(Want::AtLeast(most.map_or(demands.ring, |most| most.min(demands.ring)).into()))
}

/// The cores without a worker; `None` if there are none.
fn others(demands: &Demands, machine: &Machine) -> Option<Want> {
    let others = machine.online().without(&demands.cores);
    (!others.0.is_empty()).then_some(Want::Within(others))
}

/// A place where a row of the table is read and set.
pub struct Place {
    /// The row.
    pub row: &'static Row,
    /// The path of the file, or the name of the row.
    pub at: String,
}

/// A setting of this machine.
pub struct Setting {
    /// Its name for the operator.
    pub name: String,
    /// The places and the values there; none if this machine does not have it.
    pub found: Vec<(Place, String)>,
    /// What is wanted.
    pub want: Want,
    /// The reason.
    pub why: &'static str,
}

impl Setting {
    /// Reads the values again.
    pub fn read_again(&mut self, machine: &Machine) {
        let read =
            |(place, value): &mut (Place, String)| machine.get(place).map(|now| *value = now).is_some();
        self.found.retain_mut(read);
    }

    /// Its different values.
    pub fn values(&self) -> String {
        let values: BTreeSet<&str> = self.found.iter().map(|(_, value)| value.as_str()).collect();
        values.into_iter().collect::<Vec<_>>().join(",")
    }

    /// Compares the values with the wanted one.
    pub fn line(&self) -> Line {
        let values = self.values();
        let (mark, text) = if self.found.is_empty() {
            (Mark::Skip, "not to be had here".to_owned())
        } else if self.found.iter().all(|(_, value)| self.want.is_met_by(value)) {
            (Mark::Ok, values)
        } else {
            (Mark::Want, format!("{values}, wanted {}: {}", self.want, self.why))
        };
        Line::new(mark, &self.name, text)
    }
}

/// The settings, as they are now.
pub fn settings(demands: &Demands, machine: &Machine, scope: Scope) -> Vec<Setting> {
    let (rows, before) = match scope {
        Scope::Machine => (MACHINE, String::new()),
        Scope::Interface => (INTERFACE, format!("{}: ", machine.interface)),
    };
    let setting = |name: &str, places: Vec<Place>, want, why| {
        let value = |place| machine.get(&place).map(|value| (place, value));
        Setting {
            name: format!("{before}{name}"),
            found: places.into_iter().filter_map(value).collect(),
            want,
            why,
        }
    };
    let of_row = |row: &'static Row| {
        Some(setting(row.name, machine.places(row), (row.want)(demands, machine)?, row.why))
    };
    let of_interrupt = |(queue, irq): (usize, String)| {
        let cores = &demands.cores.0;
        let core = cores.get(queue.checked_rem(cores.len())?)?;
        let (want, why) = if demands.spin && !demands.busy_poll {
            (others(demands, machine)?, "a worker that spins would keep it waiting")
        } else {
            (Want::Within(CoreList(vec![*core])), "the worker of its queue is there")
        };
        let at = format!("/proc/irq/{irq}/smp_affinity_list");
        Some(setting(&format!("irq-{irq} (queue {queue})"), vec![Place { row: &INTERRUPT, at }], want, why))
    };
    let interrupts = if scope == Scope::Interface { machine.interrupts() } else { Vec::new() };
    rows.iter().filter_map(of_row).chain(interrupts.into_iter().filter_map(of_interrupt)).collect()
}
