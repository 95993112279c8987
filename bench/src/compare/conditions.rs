//! Under which conditions a comparison was made.

use std::fs;

use crate::args::CompareArgs;

/// Lines of a Markdown list.
pub fn describe(args: &CompareArgs, port: &str, versions: &[String], load_before: f64) -> Vec<String> {
    let mut lines = vec![
        format!("kernel {}, {}, {} cores", kernel(), cpu_model(), cores()),
        format!(
            "veth pair, one queue; target on core {}, generator on core {}; generator through {}; XDP in native mode",
            args.target_core, args.generator_core, port,
        ),
        format!("file of {} MiB in {}", args.mib, args.backing.display()),
        format!(
            "medians of {} rounds of {} s; targets take turns within a round, ratios are taken within rounds",
            args.rounds, args.seconds
        ),
        "CPU time includes what a target spends looking for work; where \"gen idle\" is near 0 the generator is \
         the limit, and the target could do more"
            .to_owned(),
        versions.join(", "),
    ];
    if load_before > 0.5 {
        lines.push(format!(
            "**preliminary**: other work was running (load average {load_before:.1} at the start)"
        ));
    }
    lines
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
