//! Checks the tuning of a NIC: what loses frames, and what delays them.

use super::cores::list;
use super::tree::Tree;
use super::{Line, Wanted};
use crate::link::{Facts, Nic};

/// The longest interrupt delay in microseconds that does not noticeably delay every reply.
const COALESCE_MAX: u32 = 50;

/// One line for each setting that the driver has and that is readable here.
pub fn lines(tree: &Tree, wanted: &Wanted, facts: &Facts, nic: &Nic) -> Vec<Line> {
    let name = &facts.name;
    let mut lines = Vec::new();
    lines.extend(ring(wanted, name, nic));
    lines.extend(coalesce(name, nic));
    lines.extend(pause(name, nic));
    // /sys may belong to another network namespace, with a different interface of this
    // name.
    if tree.number::<u32>(&format!("/sys/class/net/{name}/ifindex")) == Some(facts.index) {
        lines.extend(rps(tree, name));
        lines.extend(deferred(tree, wanted, name));
        lines.extend(interrupts(tree, wanted, name));
        lines.extend(numa(tree, wanted, name));
    }
    lines
}

fn ring(wanted: &Wanted, name: &str, nic: &Nic) -> Option<Line> {
    let (now, most) = nic.rx_ring?;
    let needed = wanted.requests;
    Some(if u64::from(now) >= needed {
        Line::Ok(format!("{name}: receive ring of {now} entries holds the {needed} requests of all hosts"))
    } else if now < most {
        let wanted = needed.next_power_of_two().min(most.into());
        Line::Hint(format!(
            "{name}: receive ring of {now} entries, and {needed} requests may come at once; what finds it full is \
             lost: ethtool -G {name} rx {wanted}"
        ))
    } else {
        Line::Hint(format!(
            "{name}: receive ring of {now} entries is all that the NIC has, and {needed} requests may come at once: \
             lower --buffer-count or --initiators"
        ))
    })
}

fn coalesce(name: &str, nic: &Nic) -> Option<Line> {
    let (micros, frames, adapts) = nic.rx_coalesce?;
    Some(if adapts {
        Line::Hint(format!(
            "{name}: the NIC guesses how long an interrupt may wait: ethtool -C {name} adaptive-rx off rx-usecs 8"
        ))
    } else if micros > COALESCE_MAX {
        Line::Hint(format!(
            "{name}: an interrupt waits up to {micros} µs, and so does an answer: ethtool -C {name} rx-usecs 8"
        ))
    } else {
        Line::Ok(format!("{name}: an interrupt waits up to {micros} µs or {frames} frame(s)"))
    })
}

fn pause(name: &str, nic: &Nic) -> Option<Line> {
    let told = |on| if on { "on" } else { "off" };
    Some(match nic.pause? {
        (true, true) => Line::Ok(format!("{name}: pause frames on; the switch has to have them on too")),
        (rx, tx) => Line::Hint(format!(
            "{name}: pause frames rx {}, tx {}: a full queue loses frames, and one lost frame can stall a host for \
             seconds: ethtool -A {name} rx on tx on, and flow control on the switch",
            told(rx),
            told(tx)
        )),
    })
}

fn rps(tree: &Tree, name: &str) -> Option<Line> {
    let folder = format!("/sys/class/net/{name}/queues");
    let queues = tree.names(&folder);
    let masks: Vec<String> =
        queues.iter().filter_map(|queue| tree.text(&format!("{folder}/{queue}/rps_cpus"))).collect();
    if masks.is_empty() {
        return None;
    }
    let is_on = masks.iter().any(|mask| mask.chars().any(|c| c != '0' && c != ','));
    Some(if is_on {
        Line::Hint(format!(
            "{name}: RPS moves frames to other cores: for f in {folder}/rx-*/rps_cpus; do echo 0 >$f; done"
        ))
    } else {
        Line::Ok(format!("{name}: RPS is off"))
    })
}

/// If the worker polls, interrupts only disturb it.
fn deferred(tree: &Tree, wanted: &Wanted, name: &str) -> Option<Line> {
    let file = format!("/sys/class/net/{name}/napi_defer_hard_irqs");
    let deferred: u32 = tree.number(&file)?;
    match (wanted.polls, deferred) {
        (true, 0) => Some(Line::Hint(format!(
            "{name}: the workers poll, and interrupts are not put off: echo 2 >{file}; \
             echo 200000 >/sys/class/net/{name}/gro_flush_timeout"
        ))),
        (true, _) => Some(Line::Ok(format!("{name}: interrupts are put off for the workers to poll"))),
        (false, 0) => None,
        (false, _) => Some(Line::Hint(format!(
            "{name}: interrupts are put off and no worker polls (--busy-poll), which delays frames: echo 0 >{file}"
        ))),
    }
}

/// The interrupt of each queue, by the names that drivers give them.
fn queue_interrupts(tree: &Tree, name: &str) -> Vec<(usize, String)> {
    let device = format!("/sys/class/net/{name}/device");
    let folders = [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")];
    let Some(folder) = folders.into_iter().find(|folder| tree.has(folder)) else { return Vec::new() };
    let all = tree.text("/proc/interrupts").unwrap_or_default();
    let label = |irq: &str| {
        let mine =
            |line: &&str| line.trim_start().strip_prefix(irq).is_some_and(|rest| rest.starts_with(':'));
        all.lines().find(mine)?.split_whitespace().last().map(str::to_owned)
    };
    let of_queue = |irq: String| Some((queue_of(&label(&irq)?)?, irq));
    let mut found: Vec<(usize, String)> = tree.names(&folder).into_iter().filter_map(of_queue).collect();
    found.sort();
    found
}

/// eth1-TxRx-3, mlx5_comp3@pci:0000:01:00.0, virtio0-input.3, eth1-rx-3.
fn queue_of(label: &str) -> Option<usize> {
    let label = label.split('@').next()?;
    let words = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_receive = ["TxRx", "rx", "comp", "input", "queue"];
    let word = words.trim_end_matches(['-', '.', '_']);
    if !is_receive.iter().any(|end| word.ends_with(end)) {
        return None;
    }
    label.get(words.len()..)?.parse().ok()
}

fn interrupts(tree: &Tree, wanted: &Wanted, name: &str) -> Option<Line> {
    if wanted.cores.is_empty() {
        return None;
    }
    let beside = wanted.spins && !wanted.polls;
    let mut wrong = Vec::new();
    let all = queue_interrupts(tree, name);
    for (queue, irq) in &all {
        let Some(cores) = tree.cores(&format!("/proc/irq/{irq}/smp_affinity_list")) else { continue };
        let own = wanted.cores.get(queue % wanted.cores.len()).copied();
        let is_right = if beside {
            !cores.iter().any(|core| wanted.cores.contains(core))
        } else {
            cores.len() == 1 && cores.first().copied() == own
        };
        if !is_right {
            wrong.push(format!("{irq} (queue {queue}) on {}", list(&cores)));
        }
    }
    let (wanted, spin) = (list(&wanted.cores), if beside { " --spin" } else { "" });
    let place =
        if beside { "away from the workers, which never sleep" } else { "with the worker of their queue" };
    match (all.is_empty(), wrong.is_empty()) {
        (true, _) => None,
        (_, true) => Some(Line::Ok(format!("{name}: {} interrupts are {place}", all.len()))),
        (_, false) => Some(Line::Hint(format!(
            "{name}: interrupts {} are not {place}: deploy/tune.sh --apply -i {name} --cores {wanted}{spin}",
            wrong.join(", ")
        ))),
    }
}

fn numa(tree: &Tree, wanted: &Wanted, name: &str) -> Option<Line> {
    // -1 if the machine has one node, or does not report it.
    let node: usize = tree.number(&format!("/sys/class/net/{name}/device/numa_node"))?;
    let near = tree.cores(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
    if wanted.cores.is_empty() {
        return None;
    }
    let far: Vec<usize> = wanted.cores.iter().copied().filter(|core| !near.contains(core)).collect();
    Some(if far.is_empty() {
        Line::Ok(format!("{name}: the workers' cores are on the NIC's NUMA node {node}"))
    } else {
        Line::Hint(format!(
            "{name}: the NIC is on NUMA node {node}, workers' cores {} are not: choose --cores from {}",
            list(&far),
            list(&near)
        ))
    })
}
