//! `xblade check`: what this machine has of what xblade needs, one line each,
//! with the remedy where something is missing.

use std::fmt;
use std::fs;

use crate::config::Check;
use crate::link::{self, Facts, XdpMode};
use crate::privilege;
use crate::shelf;

/// XDP programs for frames in several fragments came with this kernel.
const KERNEL_MIN: (u32, u32) = (5, 18);

/// AF_XDP sockets for frames in several fragments came with this one.
const KERNEL_JUMBO: (u32, u32) = (6, 6);

/// One line of the answer.
enum Line {
    /// As it should be.
    Ok(String),
    /// It works, and could be better.
    Hint(String),
    /// It has to change before xblade can serve.
    Fix(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(text) => write!(f, "OK    {text}"),
            Self::Hint(text) => write!(f, "HINT  {text}"),
            Self::Fix(text) => write!(f, "FIX   {text}"),
        }
    }
}

/// Looks at this machine and prints what it finds; returns whether xblade can
/// serve here.
pub fn check(options: &Check) -> bool {
    let mut lines = vec![
        kernel(),
        capabilities(),
        locked_memory(),
        io_uring(),
        landlock(),
        seccomp(),
        huge_pages(),
        cores(),
    ];
    let wanted = if options.interfaces.is_empty() { candidates() } else { options.interfaces.clone() };
    if wanted.is_empty() {
        lines.push(Line::Fix("no Ethernet interface is up: bring one up with `ip link set NAME up`".into()));
    }
    for name in wanted {
        lines.extend(interface(&name));
    }
    for line in &lines {
        println!("{line}");
    }
    !lines.iter().any(|line| matches!(line, Line::Fix(_)))
}

fn kernel() -> Line {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let newer = "Debian 12 has one in bookworm-backports (linux-image-amd64)";
    if version >= KERNEL_JUMBO {
        Line::Ok(format!("kernel {release}"))
    } else if version >= KERNEL_MIN {
        Line::Hint(format!("kernel {release}: more than 4 sectors a frame need 6.6 or newer; {newer}"))
    } else {
        Line::Fix(format!("kernel {release} is too old: install 6.6 or newer; {newer}"))
    }
}

fn capabilities() -> Line {
    match link::missing_capabilities() {
        Ok(missing) if missing.is_empty() => Line::Ok("capabilities".into()),
        Ok(missing) => Line::Fix(format!("this process lacks {}: run as root", missing.join(", "))),
        Err(e) => Line::Fix(format!("cannot read own capabilities: {e}")),
    }
}

fn locked_memory() -> Line {
    match link::raise_memlock() {
        Ok(()) => Line::Ok("locked memory unlimited".into()),
        // CAP_IPC_LOCK is among them.
        Err(_) if link::missing_capabilities().is_ok_and(|missing| missing.is_empty()) => {
            Line::Ok("locked memory: CAP_IPC_LOCK lifts the limit".into())
        }
        Err(e) => Line::Fix(format!("{e}")),
    }
}

/// Without it a disk that hangs holds up the other exports of its worker.
fn io_uring() -> Line {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default().trim() {
        "" | "0" => Line::Ok("io_uring".into()),
        "1" => Line::Ok("io_uring, for root and the group in kernel.io_uring_group".into()),
        _ => Line::Hint(
            "io_uring is switched off, so files are served by calls that wait: sysctl kernel.io_uring_disabled=0"
                .into(),
        ),
    }
}

/// Without it a process that was taken over may open other files.
fn landlock() -> Line {
    match privilege::landlock_abi() {
        Some(abi) if abi < 4 => {
            Line::Ok(format!("Landlock ABI {abi}: confines files; TCP too from Linux 6.7 on"))
        }
        Some(abi) => Line::Ok(format!("Landlock ABI {abi}")),
        None => Line::Hint(
            "no Landlock, so the sandbox does not confine files: boot with landlock in lsm=LIST, see \
             /sys/kernel/security/lsm"
                .into(),
        ),
    }
}

fn seccomp() -> Line {
    if privilege::has_seccomp() {
        Line::Ok("seccomp".into())
    } else {
        Line::Hint("no seccomp, so the sandbox does not filter system calls: use a kernel with it".into())
    }
}

fn huge_pages() -> Line {
    let pages = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    match pages.trim() {
        "" | "0" => {
            Line::Hint("no huge pages reserved: --huge-pages needs `sysctl vm.nr_hugepages=64`".into())
        }
        pages => Line::Ok(format!("{pages} huge pages reserved, for --huge-pages")),
    }
}

fn cores() -> Line {
    let isolated = fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    match isolated.trim() {
        "" => Line::Hint(format!(
            "{online} cores, none isolated: for --idle spin boot with isolcpus=LIST nohz_full=LIST and give --cores LIST"
        )),
        isolated => Line::Ok(format!("{online} cores, isolated: {isolated} (give them to --cores)")),
    }
}

/// Ethernet interfaces that are up.
fn candidates() -> Vec<String> {
    let names = link::names().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| Facts::read(name).is_ok_and(|facts| !facts.loopback && facts.up))
        .collect()
}

fn interface(name: &str) -> Vec<Line> {
    let facts = match Facts::read(name) {
        Ok(facts) => facts,
        Err(e) => return vec![Line::Fix(super::failure::chain(&e))],
    };
    if facts.loopback {
        return vec![Line::Fix(format!(
            "{name} is the loopback: name the interface that the other hosts are on"
        ))];
    }
    let driver = if facts.driver.is_empty() { "unknown" } else { &facts.driver };
    let mut lines =
        vec![Line::Ok(format!("{name}: driver {driver}, {} queue(s), XDP {}", facts.queues, xdp(&facts)))];
    lines.push(link_state(&facts));
    lines.push(mtu(&facts));
    if facts.rx_vlan_offload == Some(true) {
        lines.push(Line::Hint(format!(
            "{name}: the NIC takes VLAN tags out of frames; to serve tagged hosts: ethtool -K {name} rxvlan off"
        )));
    }
    for (mode, id) in &facts.attached {
        lines.push(Line::Fix(format!(
            "{name}: XDP program {id} is attached already ({mode}): stop the program that did it, or see \
             `bpftool prog show id {id}`"
        )));
    }
    lines
}

fn xdp(facts: &Facts) -> String {
    let Some(native) = facts.native else { return "generic (the driver tells nothing of native)".into() };
    if !native {
        return "generic only".into();
    }
    let yes = |known: Option<bool>| if known == Some(true) { "yes" } else { "no" };
    format!("{}, jumbo frames {}, zero-copy {}", XdpMode::Native, yes(facts.rx_sg), yes(facts.zero_copy))
}

fn link_state(facts: &Facts) -> Line {
    let name = &facts.name;
    match (facts.up, facts.carrier) {
        (true, true) => Line::Ok(format!("{name}: link is up")),
        (true, false) => Line::Hint(format!("{name}: no carrier: check the cable and the other end")),
        (false, _) => Line::Fix(format!("{name} is down: ip link set {name} up")),
    }
}

fn mtu(facts: &Facts) -> Line {
    let (name, mtu, sectors) = (&facts.name, facts.mtu, shelf::sectors_per_frame(facts.mtu));
    match shelf::check_mtu(mtu) {
        Err(e) => Line::Fix(format!("{name}: {e}")),
        Ok(_) if sectors < 8 => Line::Hint(format!(
            "{name}: MTU {mtu} carries {sectors} sector(s) a frame; 9000 on every host and switch carries 16: \
             ip link set {name} mtu 9000"
        )),
        Ok(_) => Line::Ok(format!("{name}: MTU {mtu} carries {sectors} sectors a frame")),
    }
}
