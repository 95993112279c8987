//! An XDP program that is already attached to an interface, and how to remove it.

use std::fmt;
use std::fs;

use aya::programs::links::LinkType;
use aya::programs::{loaded_links, loaded_programs};
use xblade_ebpf::PROGRAM;

use super::facts::XdpMode;
use super::processes;

/// A foreign XDP program on an interface. `Display` prints one line: what it is, which
/// processes hold it, and how to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The interface.
    pub interface: String,
    /// Its XDP mode.
    pub mode: XdpMode,
    /// The kernel's program id.
    pub id: u32,
    /// Its name; `None` without CAP_SYS_ADMIN, which the query needs.
    pub name: Option<String>,
    /// The ids of the bpf_links that attach it; with one, `ip link` cannot remove it. Empty
    /// without CAP_SYS_ADMIN.
    pub links: Vec<u32>,
    /// The processes that hold it open, by id and command. Empty if it is pinned, attached
    /// without a link, or not visible to this process.
    pub holders: Vec<(u32, String)>,
    /// An alternative to removing it, supplied by the caller.
    pub advice: Option<String>,
}

impl Occupant {
    /// Collects the details of program `id`. What cannot be determined stays empty.
    pub fn of(interface: &str, mode: XdpMode, id: u32) -> Self {
        Self {
            interface: interface.to_owned(),
            mode,
            id,
            name: name_of(id),
            links: links_of(id),
            holders: holders_of(id),
            advice: None,
        }
    }

    /// Whether it is an xblade's.
    pub fn is_xblade(&self) -> bool {
        match &self.name {
            Some(name) => name == PROGRAM,
            // aya sets program names only if it can test that with a tracepoint program,
            // which needs CAP_PERFMON, and the service does not have it.
            None => self.holders.iter().any(|(_, command)| command.starts_with(PROGRAM)),
        }
    }

    /// The remedy for the operator.
    fn remedy(&self) -> String {
        let stop = self.holders.first().map(|(pid, _)| format!("stop process {pid}"));
        // That process removes its program itself.
        if let Some(stop) = stop.as_ref().filter(|_| self.is_xblade()) {
            return stop.clone();
        }
        // Without a name this process may not query programs, and then it may not query
        // links either.
        if self.name.is_none() && self.links.is_empty() {
            let look = format!("`bpftool prog show id {}`, as root, tells what it is", self.id);
            return stop
                .map_or(format!("it may be another xblade's, {look}"), |stop| format!("{stop}, {look}"));
        }
        let command = match self.links.as_slice() {
            [] => {
                let mode = match self.mode {
                    XdpMode::Native => "xdpdrv",
                    XdpMode::Generic => "xdpgeneric",
                    XdpMode::Offload => "xdpoffload",
                };
                format!("`ip link set dev {} {mode} off`", self.interface)
            }
            [link] => format!("`bpftool link detach id {link}`"),
            _ => "`bpftool link detach id` on its link, see `bpftool link show`".to_owned(),
        };
        match stop {
            Some(stop) => format!("{stop} or run {command}"),
            None => format!("run {command}"),
        }
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, mode, id, .. } = self;
        match &self.name {
            _ if self.is_xblade() => {
                write!(to, "interface `{interface}` is served by another xblade")?;
            }
            Some(name) => {
                write!(to, "interface `{interface}` already runs the XDP program `{name}`")?;
            }
            None => write!(to, "interface `{interface}` already runs an XDP program")?,
        }
        write!(to, " (program id {id}, {mode} mode")?;
        for (pid, command) in &self.holders {
            write!(to, ", held by {command}, process {pid}")?;
        }
        let advice = self.advice.as_ref().map(|advice| format!("{advice}, or ")).unwrap_or_default();
        write!(to, "): {advice}{}", self.remedy())
    }
}

fn name_of(id: u32) -> Option<String> {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

fn links_of(id: u32) -> Vec<u32> {
    loaded_links()
        .filter_map(Result::ok)
        .filter(|link| link.program_id() == id && matches!(link.link_type(), Ok(LinkType::Xdp)))
        .map(|link| link.id())
        .collect()
}

/// Processes with a descriptor of the program or of a link to it.
fn holders_of(id: u32) -> Vec<(u32, String)> {
    processes::with("fdinfo", |fd| fs::read_to_string(fd).is_ok_and(|info| mentions(&info, id)))
}

/// Whether an fdinfo text refers to program `id`.
fn mentions(info: &str, id: u32) -> bool {
    info.lines().filter_map(|line| line.strip_prefix("prog_id:")).any(|value| value.trim().parse() == Ok(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(name: Option<&str>, links: &[u32], holders: &[(u32, &str)]) -> Occupant {
        Occupant {
            interface: "eth7".into(),
            mode: XdpMode::Native,
            id: 12,
            name: name.map(Into::into),
            links: links.to_vec(),
            holders: holders.iter().map(|(pid, name)| (*pid, (*name).into())).collect(),
            advice: None,
        }
    }

    #[test]
    fn the_line_names_it_and_the_remedy() {
        let rows = [
            (
                occupant(Some("fw"), &[], &[]),
                "interface `eth7` already runs the XDP program `fw` (program id 12, native mode): \
                 run `ip link set dev eth7 xdpdrv off`",
            ),
            (
                occupant(Some("fw"), &[4], &[(77, "loader")]),
                "interface `eth7` already runs the XDP program `fw` (program id 12, native mode, \
                 held by loader, process 77): stop process 77 or run `bpftool link detach id 4`",
            ),
            (
                occupant(None, &[], &[]),
                "interface `eth7` already runs an XDP program (program id 12, native mode): it \
                 may be another xblade's, `bpftool prog show id 12`, as root, tells what it is",
            ),
            (
                occupant(None, &[], &[(77, "loader")]),
                "interface `eth7` already runs an XDP program (program id 12, native mode, held \
                 by loader, process 77): stop process 77, `bpftool prog show id 12`, as root, \
                 tells what it is",
            ),
            (
                occupant(None, &[4, 5], &[]),
                "interface `eth7` already runs an XDP program (program id 12, native mode): run \
                 `bpftool link detach id` on its link, see `bpftool link show`",
            ),
            (
                occupant(None, &[4], &[(77, "xblade")]),
                "interface `eth7` is served by another xblade (program id 12, native mode, held \
                 by xblade, process 77): stop process 77",
            ),
            (
                occupant(Some("fw"), &[4], &[(77, "xblade")]),
                "interface `eth7` already runs the XDP program `fw` (program id 12, native mode, \
                 held by xblade, process 77): stop process 77 or run `bpftool link detach id 4`",
            ),
            (
                occupant(Some("xblade"), &[4], &[(77, "xblade")]),
                "interface `eth7` is served by another xblade (program id 12, native mode, held \
                 by xblade, process 77): stop process 77",
            ),
            (
                Occupant {
                    advice: Some("add to it".into()),
                    ..occupant(Some("xblade"), &[4], &[(77, "xblade")])
                },
                "interface `eth7` is served by another xblade (program id 12, native mode, held \
                 by xblade, process 77): add to it, or stop process 77",
            ),
        ];
        for (occupant, line) in rows {
            assert_eq!(occupant.to_string(), line);
        }
    }

    #[test]
    fn fdinfo_is_matched_by_the_whole_number() {
        let info = "pos:\t0\nlink_type:\txdp\nprog_id:\t123\nifindex:\t5\n";
        assert!(mentions(info, 123));
        assert!(!mentions(info, 12));
        assert!(!mentions(info, 5));
    }
}
