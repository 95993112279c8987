//! The conditions of a comparison.

use anyhow::Result;

use crate::conditions::{self, condition};
use crate::outcome::Condition;

use super::case::Case;
use super::pair::Pair;
use super::plan::Plan;
use super::target::{Target, xblade_told};

/// What the CPU time of a target's process includes, and what it does not.
const CHARGED: &str = "per request, of the target's process with all its threads, io_uring's workers included, and \
     with what it spends looking for work; \"over echo\": what it is more than the echo's; not included are other kernel threads (kworkers \
     that complete writes, the journal, ksoftirqd) and interrupts while it does not run: \"core busy\" has those \
     that ran on its core, with all else that ran there. On a veth pair the receiver's path runs on the sender's \
     core: \"gen kernel\" is the share of the generator's core that the kernel took, for both of them";

/// What a target measures itself.
const INSIDE: &str = "from a frame's arrival in the XDP program to its reply, as xblade counts it for its first \
     export from its start, warm-up included; other targets count none";

/// What "user ns" and "calls" are.
const TRACED: &str = "time in user mode, and system calls, of the target's process per request: from a measurement \
     after each one, half as long and at most 1 s, in which BPF programs time and count the calls. Interrupts and \
     page faults are in it, softirqs are not, nor is what the way into and out of the kernel takes in a calibration";

/// The conditions common to all targets.
pub fn of_all(plan: &Plan, pair: &Pair, versions: Vec<Condition>) -> Vec<Condition> {
    let mut all = vec![condition("profile", plan.profile.as_str())];
    all.extend(versions);
    all.extend(conditions::of_host(std::slice::from_ref(&pair.target.interface)));
    let page_cache = if plan.cold {
        "a target's file is dropped from it before each measurement"
    } else {
        "files stay in it as they were written and as measurements leave them"
    };
    all.extend([
        condition("network", pair.network()),
        condition("target's core", plan.target_core.to_string()),
        condition("generator's core", plan.generator_core.to_string()),
        condition("files", files(plan)),
        condition("page cache", page_cache),
        condition("rounds", rounds(plan)),
        condition("CPU time", CHARGED),
        condition("inside", INSIDE),
        condition("gen idle", "near 0 the generator is the limit, and the target could do more"),
    ]);
    if plan.cases.iter().any(|case| case.durable) {
        let text = "acknowledged from stable storage (xblade durability=durable, vblade -s, fio sync=dsync)";
        all.push(condition("durable", text));
    }
    if plan.targets.iter().any(Target::is_fio) {
        let text = "on the bare file, without a network, on the target's core; io_uring, O_DIRECT, as many in flight; \
                    each durable write is flushed for itself, so that it is no ceiling for who flushes many at once; \
                    \"beside a busy core\": the generator's core spins meanwhile, as it does for the targets of the \
                    network, which slows the disk itself where the machine's other cores emulate it";
        all.push(condition("fio", text));
    }
    if !plan.xblade_options.is_empty() {
        all.push(condition("xblade with", plan.xblade_options.join(" ")));
    }
    all
}

/// How system calls and time in user mode were measured.
pub fn of_tracer(call_ns: &Result<f64>) -> Condition {
    let text = match call_ns {
        Ok(call_ns) => format!("{TRACED} ({call_ns:.0} ns); fio reports its own user time"),
        Err(error) => format!("user time from the kernel's ticks, system calls not counted: {error:#}"),
    };
    condition("user ns, calls", text)
}

/// The conditions of a running target.
pub fn of_target(target: &Target, case: &Case, said: &str, pair: &Pair) -> Vec<Condition> {
    let durability = match (target, case.durable) {
        (Target::Custom(..), _) => "as its command says",
        (_, true) => "durable, unless the name says otherwise",
        (_, false) => "volatile",
    };
    let mut all = vec![condition("durability", durability)];
    all.extend(pair.target.xdp().map(|mode| condition("XDP at the target", mode)));
    if matches!(target, Target::Vblade(_)) {
        all.push(condition("vblade -b", case.buffer_count().to_string()));
    }
    if matches!(target, Target::Xblade { .. }) {
        all.extend(xblade_told(said));
    }
    all
}

fn files(plan: &Plan) -> String {
    format!(
        "one of {} MiB for each target, in {}, written once and synced before; {}",
        plan.mib,
        plan.backing.display(),
        conditions::of_storage(&plan.backing)
    )
}

fn rounds(plan: &Plan) -> String {
    format!(
        "{} of {} s, {} s of warm-up; targets take turns within a round, figures are medians, ratios are taken within \
         rounds and shown as median (least–most)",
        plan.rounds, plan.seconds, plan.warm_up
    )
}
