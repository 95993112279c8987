//! Advice about settings that `xblade tune` does not change itself.

use super::machine::Machine;
use super::{Line, Mark, Scope};
use crate::config::{CoreList, Demands};

/// The lines for these settings.
pub fn advice(demands: &Demands, machine: &Machine, scope: Scope) -> Vec<Line> {
    match scope {
        Scope::Machine => vec![of_machine(demands, machine)],
        Scope::Interface => of_interface(demands, machine),
    }
}

/// Which cores the kernel leaves to the workers, by its command line.
fn of_machine(demands: &Demands, machine: &Machine) -> Line {
    let line = |mark, text: String| Line::new(mark, "kernel-command-line", text);
    let words = machine.tree.text("/proc/cmdline").unwrap_or_default();
    let (cores, others) = (&demands.cores, machine.online().without(&demands.cores));
    if cores.0.is_empty() {
        return match listed(&words, "isolcpus").filter(|isolated| !isolated.0.is_empty()) {
            Some(isolated) => {
                line(Mark::Hint, format!("isolates {isolated}: give these cores to the workers (--cores)"))
            }
            None => line(Mark::Skip, "give the workers' cores with --cores".to_owned()),
        };
    }
    if others.0.is_empty() {
        let text = "every core has a worker: leave one to the system, then isolate the others";
        return line(Mark::Hint, text.to_owned());
    }
    let has =
        |key: &str, wanted: &CoreList| listed(&words, key).is_some_and(|cores| wanted.is_within(&cores));
    let isolating = [("isolcpus", "managed_irq,domain,"), ("nohz_full", ""), ("rcu_nocbs", "")];
    let lacking = isolating.iter().filter(|(key, _)| !has(key, cores));
    let mut lacking: Vec<String> = lacking.map(|(key, flags)| format!("{key}={flags}{cores}")).collect();
    if !listed(&words, "irqaffinity").is_some_and(|rest| rest.is_within(&others)) {
        lacking.push(format!("irqaffinity={others}"));
    }
    if lacking.is_empty() {
        return line(Mark::Ok, format!("isolates {cores}"));
    }
    let text = format!(
        "lacks {}: on Debian add it to GRUB_CMDLINE_LINUX in /etc/default/grub.d/xblade.cfg, then update-grub and reboot",
        lacking.join(" ")
    );
    line(Mark::Boot, text)
}

/// The cores that a word of the kernel command line lists after its flags.
fn listed(words: &str, key: &str) -> Option<CoreList> {
    let value = words.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
    let is_core = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    value.split(',').filter(is_core).collect::<Vec<_>>().join(",").parse().ok()
}

/// What keeps the settings of an interface from being read, or from lasting.
fn of_interface(demands: &Demands, machine: &Machine) -> Vec<Line> {
    let (name, interrupts) = (&machine.interface, machine.interrupts());
    let line = |mark, what: &str, text: String| Line::new(mark, format!("{name}: {what}"), text);
    let skip = |what: &str, text: &str| Some(line(Mark::Skip, what, text.to_owned()));
    let affinity = match (machine.is_in_sys, interrupts.is_empty(), demands.cores.0.is_empty()) {
        (false, ..) => {
            skip("mtu, queues, interrupts", "/sys shows the interfaces of another network namespace")
        }
        (_, true, _) => skip("interrupts", "it has none of its own that can be told apart"),
        (.., true) => skip("interrupts", "give the workers' cores with --cores"),
        _ if !machine.tree.has("/run/irqbalance") => None,
        _ => {
            let text = "moves interrupts again: systemctl disable --now irqbalance";
            Some(line(Mark::Hint, "irqbalance", text.to_owned()))
        }
    };
    affinity.into_iter().chain(numa(demands, machine)).collect()
}

fn numa(demands: &Demands, machine: &Machine) -> Option<Line> {
    // -1 if the machine has one node, or does not report it.
    let node: usize =
        machine.tree.value(&format!("/sys/class/net/{}/device/numa_node", machine.interface))?;
    let near: CoreList = machine.tree.value(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let far = demands.cores.without(&near);
    let (mark, text) = if far.0.is_empty() {
        (Mark::Ok, format!("{node}, which the workers' cores are on"))
    } else {
        (Mark::Hint, format!("{node}, workers' cores {far} are not on it: choose --cores from {near}"))
    };
    let is_known = machine.is_in_sys && !demands.cores.0.is_empty();
    is_known.then(|| Line::new(mark, format!("{}: NUMA node", machine.interface), text))
}
