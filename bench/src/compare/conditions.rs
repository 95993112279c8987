//! Under which conditions a comparison was made.

use std::fs;

use crate::args::CompareArgs;
use crate::conditions;

use super::case::Case;
use super::target::Target;
use super::warnings;

/// What of a target's work is charged to its process, and what is not.
const CHARGED: &str = "CPU time is that of the target's process with all its threads, io_uring's workers \
     included, and includes what it spends looking for work; not included are other kernel threads (kworkers \
     that complete writes, the journal, ksoftirqd) and interrupts while it does not run: \"core busy\" has those \
     that ran on its core, with all else that ran there";

/// Lines of a Markdown list.
pub fn describe(
    args: &CompareArgs,
    cases: &[Case],
    port: &str,
    versions: &[String],
    load_before: f64,
) -> Vec<String> {
    let targets = Target::list(args);
    let mut lines = vec![
        format!("kernel {}, {}, {} cores", kernel(), cpu_model(), cores()),
        format!(
            "veth pair, one queue; target on core {}, generator on core {}; generator through {port}; XDP in native \
             mode",
            args.target_core, args.generator_core,
        ),
        format!(
            "file of {} MiB in {}, written once and synced before; {}",
            args.mib,
            args.backing.display(),
            conditions::of_storage(&args.backing)
        ),
        page_cache(args.cold).to_owned(),
        format!(
            "medians of {} rounds of {} s; targets take turns within a round, ratios are taken within rounds",
            args.rounds, args.seconds
        ),
        CHARGED.to_owned(),
        "where \"gen idle\" is near 0 the generator is the limit, and the target could do more".to_owned(),
        versions.join(", "),
    ];
    if cases.iter().any(Case::is_durable) {
        lines.push(
            "durable: acknowledged when it is on stable storage (xblade durability=durable, vblade -s, fio \
             sync=dsync)"
                .to_owned(),
        );
    }
    if targets.iter().any(Target::is_fio) {
        lines.push(
            "fio: on the bare file, without a network, on the target's core; io_uring, O_DIRECT, as many in \
             flight; each durable write is flushed for itself, so that it is no ceiling for who flushes many at once; \
             \"beside a busy core\": the generator's core spins meanwhile, as it does for the targets of the network, \
             which slows the disk itself where the machine's other cores emulate it"
                .to_owned(),
        );
    }
    if !args.xblade_option.is_empty() {
        lines.push(format!("xblade with {}", args.xblade_option.join(" ")));
    }
    lines.extend(warnings::of_load(load_before).map(|text| format!("**{text}**")));
    lines
}

fn page_cache(cold: bool) -> &'static str {
    if cold {
        "the file is dropped from the page cache before each measurement"
    } else {
        "the file stays in the page cache as it was written and as measurements leave it"
    }
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown CPU", |(_, model)| model.trim()).to_owned()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}
