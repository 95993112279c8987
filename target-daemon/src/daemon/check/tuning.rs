//! Checks the tuning of the machine: cores, their clocks, and memory.

use super::cores::list;
use super::tree::Tree;
use super::{Line, Wanted};

const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// One line for each setting that is readable here.
pub fn lines(tree: &Tree, wanted: &Wanted) -> Vec<Line> {
    let found = [
        huge_pages(tree, wanted),
        cores(tree, wanted),
        governor(tree),
        transparent_huge_pages(tree),
        numa_balancing(tree),
        bpf_jit(tree),
    ];
    found.into_iter().flatten().collect()
}

fn huge_pages(tree: &Tree, wanted: &Wanted) -> Option<Line> {
    let reserved: u64 = tree.number("/proc/sys/vm/nr_hugepages").unwrap_or(0);
    if wanted.huge_bytes == 0 {
        return Some(match reserved {
            0 => Line::Hint("no huge pages reserved: --huge-pages needs `sysctl vm.nr_hugepages=64`".into()),
            pages => Line::Ok(format!("{pages} huge pages reserved, for --huge-pages")),
        });
    }
    let meminfo = tree.text("/proc/meminfo")?;
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = field("Hugepagesize:")?.checked_mul(1024).filter(|bytes| *bytes > 0)?;
    let needed = wanted.huge_bytes.div_ceil(bytes);
    // Pages in use by a running xblade are not free, but they are enough.
    Some(if reserved >= needed {
        Line::Ok(format!("{reserved} huge pages reserved, {needed} needed for UMEM"))
    } else {
        Line::Fix(format!(
            "{reserved} huge pages reserved, UMEM on huge pages needs {needed}: sysctl vm.nr_hugepages={needed}"
        ))
    })
}

fn cores(tree: &Tree, wanted: &Wanted) -> Option<Line> {
    let isolated = tree.cores("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let online = tree
        .cores("/sys/devices/system/cpu/online")
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |online| online.len());
    if wanted.cores.is_empty() {
        return Some(if isolated.is_empty() {
            Line::Hint(format!(
                "{online} cores, none isolated: for --idle spin boot with isolcpus=LIST nohz_full=LIST and give \
                 --cores LIST"
            ))
        } else {
            Line::Ok(format!("{online} cores, isolated: {} (give them to --cores)", list(&isolated)))
        });
    }
    let shared: Vec<usize> = wanted.cores.iter().copied().filter(|core| !isolated.contains(core)).collect();
    let (all, shared) = (list(&wanted.cores), list(&shared));
    Some(match (shared.is_empty(), wanted.cores.len() >= online) {
        (true, _) => Line::Ok(format!("the workers' cores {all} are isolated")),
        (false, true) => Line::Hint(format!(
            "every one of {online} cores has a worker, so none can be isolated: leave one to the system"
        )),
        (false, false) => Line::Hint(format!(
            "workers' cores {shared} are not isolated, so others run there too: boot with isolcpus={all} \
             nohz_full={all} rcu_nocbs={all}"
        )),
    })
}

fn governor(tree: &Tree) -> Option<Line> {
    let folder = "/sys/devices/system/cpu";
    let names = tree.names(folder).into_iter();
    let all = names.filter_map(|name| tree.text(&format!("{folder}/{name}/cpufreq/scaling_governor")));
    let mut others: Vec<String> = Vec::new();
    let mut count = 0;
    for governor in all {
        count += 1;
        if governor != "performance" && !others.contains(&governor) {
            others.push(governor);
        }
    }
    match (count, others.is_empty()) {
        (0, _) => None,
        (_, true) => Some(Line::Ok("CPU governor performance".into())),
        (_, false) => Some(Line::Hint(format!(
            "CPU governor {}: a core that is clocked down answers late: deploy/tune.sh sets performance",
            others.join(", ")
        ))),
    }
}

fn transparent_huge_pages(tree: &Tree) -> Option<Line> {
    let text = tree.text(HUGE)?;
    let chosen = text.split('[').nth(1)?.split(']').next()?;
    Some(match chosen {
        "always" => Line::Hint(format!(
            "transparent huge pages for everything: collecting them stops processes: echo madvise >{HUGE}"
        )),
        other => Line::Ok(format!("transparent huge pages: {other}")),
    })
}

fn numa_balancing(tree: &Tree) -> Option<Line> {
    let on: u32 = tree.number("/proc/sys/kernel/numa_balancing")?;
    let hint = "NUMA balancing is on: it unmaps memory to see who uses it: sysctl kernel.numa_balancing=0";
    Some(if on == 0 { Line::Ok("NUMA balancing is off".into()) } else { Line::Hint(hint.into()) })
}

/// Most kernels cannot turn it off.
fn bpf_jit(tree: &Tree) -> Option<Line> {
    let off = tree.number::<u32>("/proc/sys/net/core/bpf_jit_enable")? == 0;
    off.then(|| Line::Hint("the XDP program is interpreted: sysctl net.core.bpf_jit_enable=1".into()))
}
