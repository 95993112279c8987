//! Reads and writes the settings of this machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::table::{INTERFACE, MACHINE, Place, Row, Source};
use crate::config::CoreList;
use crate::link::NicSetting;

/// Files of the kernel, below a root that tests replace.
pub struct Tree(pub PathBuf);

impl Tree {
    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The trimmed contents of a file; `None` if it is empty or cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A list of cores.
    pub fn cores(&self, path: &str) -> Option<CoreList> {
        self.text(path)?.parse().ok()
    }

    /// Whether this file or directory exists.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The sorted paths that match a pattern.
    pub fn glob(&self, pattern: &str) -> Vec<String> {
        let root = glob::Pattern::escape(&self.0.to_string_lossy());
        let found = glob::glob(&format!("{}{pattern}", root.trim_end_matches('/')));
        let below = |path: PathBuf| Some(format!("/{}", path.strip_prefix(&self.0).ok()?.display()));
        found.into_iter().flatten().flatten().filter_map(below).collect()
    }
}

/// The settings of one NIC. Tests have their own implementation.
pub trait Nic {
    /// Reads a setting; `None` if the driver does not have it, or never changes it.
    fn read(&self, setting: NicSetting) -> Option<u32>;

    /// Changes a setting.
    ///
    /// # Errors
    ///
    /// The driver's.
    fn write(&self, setting: NicSetting, value: u32) -> io::Result<()>;
}

/// An interface of this network namespace.
struct Interface(String);

impl Nic for Interface {
    fn read(&self, setting: NicSetting) -> Option<u32> {
        setting.read(&self.0).ok().filter(|_| !setting.is_fixed(&self.0))
    }

    fn write(&self, setting: NicSetting, value: u32) -> io::Result<()> {
        setting.write(&self.0, value)
    }
}

/// This machine, and one of its interfaces.
pub struct Machine {
    /// The files of the kernel.
    pub tree: Tree,
    /// The interface.
    pub interface: String,
    /// Whether /sys shows this interface, and not one of another network namespace.
    pub is_in_sys: bool,
    /// Its NIC.
    pub nic: Box<dyn Nic>,
}

impl Machine {
    /// This machine, and the interface with this name and index; 0 if there is none.
    pub fn of(interface: &str, index: u32) -> Self {
        let nic = Box::new(Interface(interface.to_owned()));
        Self::made(Path::new("/"), interface, index, nic)
    }

    /// The same with another root, and another NIC.
    pub fn made(root: &Path, interface: &str, index: u32, nic: Box<dyn Nic>) -> Self {
        let tree = Tree(root.to_owned());
        let is_in_sys = tree.number(&format!("/sys/class/net/{interface}/ifindex")) == Some(index);
        Self { tree, interface: interface.to_owned(), is_in_sys, nic }
    }

    /// The places where this row of the table is read and set.
    pub fn places(&self, row: &'static Row) -> Vec<Place> {
        let at = match row.source {
            Source::Nic(_) => vec![row.name.to_owned()],
            Source::Files(pattern, _) => self.tree.glob(&pattern.replace("{if}", &self.interface)),
        };
        at.into_iter().map(|at| Place { row, at }).collect()
    }

    /// The place with this name in a journal; `None` if it is not one of the table.
    pub fn place(&self, at: &str) -> Option<Place> {
        let rows = MACHINE.iter().chain(INTERFACE);
        let row = rows.into_iter().find(|row| match row.source {
            Source::Nic(_) => row.name == at,
            Source::Files(pattern, _) => {
                let pattern = pattern.replace("{if}", &glob::Pattern::escape(&self.interface));
                // A star is one name, and not "..".
                let options = glob::MatchOptions {
                    case_sensitive: true,
                    require_literal_separator: true,
                    require_literal_leading_dot: true,
                };
                glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches_with(at, options))
            }
        })?;
        Some(Place { row, at: at.to_owned() })
    }

    /// The value at a place; `None` if this machine does not have it.
    pub fn get(&self, place: &Place) -> Option<String> {
        match place.row.source {
            Source::Nic(setting) => {
                let value = self.nic.read(setting)?;
                Some(match (setting.is_switch(), value) {
                    (false, number) => number.to_string(),
                    (true, 0) => "off".to_owned(),
                    (true, _) => "on".to_owned(),
                })
            }
            Source::Files(..) if place.at.starts_with("/sys/class/net/") && !self.is_in_sys => None,
            Source::Files(_, format) => format.normal(&self.tree.text(&place.at)?),
        }
    }

    /// Sets the value at a place.
    ///
    /// # Errors
    ///
    /// The kernel's or the driver's.
    pub fn put(&self, place: &Place, value: &str) -> io::Result<()> {
        match place.row.source {
            Source::Nic(setting) => {
                let number =
                    if setting.is_switch() { u32::from(value == "on").to_string() } else { value.to_owned() };
                self.nic.write(setting, number.parse().map_err(|_| io::ErrorKind::InvalidInput)?)
            }
            Source::Files(..) => {
                let mut file =
                    OpenOptions::new().write(true).truncate(true).open(self.tree.path(&place.at))?;
                file.write_all(format!("{value}\n").as_bytes())
            }
        }
    }

    /// The cores that are online.
    pub fn online(&self) -> CoreList {
        let all = || (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        self.tree.cores("/sys/devices/system/cpu/online").unwrap_or_else(|| CoreList(all()))
    }

    /// The size of a huge page.
    pub fn huge_page_bytes(&self) -> Option<u64> {
        let meminfo = self.tree.text("/proc/meminfo")?;
        let size = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
        let kib: u64 = size.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024).filter(|bytes| *bytes > 0)
    }

    /// The queue and number of each interrupt of the NIC, by queue.
    pub fn interrupts(&self) -> Vec<(usize, String)> {
        let all = self.tree.text("/proc/interrupts").unwrap_or_default();
        let queue = |irq: &str| {
            let own =
                |line: &&str| line.trim_start().strip_prefix(irq).is_some_and(|rest| rest.starts_with(':'));
            queue_of(all.lines().find(own)?.split_whitespace().last()?)
        };
        let device = format!("/sys/class/net/{}/device", self.interface);
        let folders = [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")];
        let folder = folders.into_iter().find(|folder| self.is_in_sys && self.tree.has(folder));
        let files = folder.map(|folder| self.tree.glob(&format!("{folder}/*"))).unwrap_or_default();
        let irqs = files.iter().filter_map(|path| path.rsplit('/').next());
        let mut found: Vec<_> = irqs.filter_map(|irq| Some((queue(irq)?, irq.to_owned()))).collect();
        found.sort();
        found
    }
}

/// The queue of an interrupt, by the names that drivers give them: eth1-TxRx-3,
/// mlx5_comp3@pci:0000:01:00.0, virtio0-input.3, eth1-rx-3.
fn queue_of(label: &str) -> Option<usize> {
    let label = label.split('@').next()?;
    let words = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let word = words.trim_end_matches(['-', '.', '_']);
    let is_receive = ["TxRx", "rx", "comp", "input", "queue"].iter().any(|end| word.ends_with(end));
    label.get(words.len()..)?.parse().ok().filter(|_| is_receive)
}
