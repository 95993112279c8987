//! Reads and writes the settings of this machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

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

    /// A value, for instance a number or a list of cores.
    pub fn value<T: FromStr>(&self, path: &str) -> Option<T> {
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

/// The NIC of the interface with this name, in this network namespace.
impl Nic for String {
    fn read(&self, setting: NicSetting) -> Option<u32> {
        setting.read(self).ok().filter(|_| !setting.is_fixed(self))
    }

    fn write(&self, setting: NicSetting, value: u32) -> io::Result<()> {
        setting.write(self, value)
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
        Self::made(Path::new("/"), interface, index, Box::new(interface.to_owned()))
    }

    /// The same with another root, and another NIC.
    pub fn made(root: &Path, interface: &str, index: u32, nic: Box<dyn Nic>) -> Self {
        let tree = Tree(root.to_owned());
        let is_in_sys = tree.value(&format!("/sys/class/net/{interface}/ifindex")) == Some(index);
        Self { tree, interface: interface.to_owned(), is_in_sys, nic }
    }

    /// The places where this row of the table is read and set.
    pub fn places(&self, row: &'static Row) -> Vec<Place> {
        let at = match row.source {
            Source::Nic(_) => vec![row.name.to_owned()],
            Source::Files(pattern, _) => {
                self.tree.glob(&pattern.replace("{if}", &glob::Pattern::escape(&self.interface)))
            }
        };
        at.into_iter().map(|at| Place { row, at }).collect()
    }

    /// The place with this name, in a journal; `None` if this machine does not have it (any
    /// more), or if it is no setting of the table.
    pub fn place(&self, at: &str) -> Option<Place> {
        let all = MACHINE.iter().chain(INTERFACE).flat_map(|row| self.places(row));
        all.into_iter().find(|place| place.at == at)
    }

    /// The value at a place; `None` if this machine does not have it.
    pub fn get(&self, place: &Place) -> Option<String> {
        match place.row.source {
            Source::Nic(setting) => {
                let value = self.nic.read(setting)?;
                let switch = if value == 0 { "off" } else { "on" };
                Some(if setting.is_switch() { switch.to_owned() } else { value.to_string() })
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
                let number = match value {
                    "off" => 0,
                    "on" => 1,
                    number => number.parse().map_err(|_| io::ErrorKind::InvalidInput)?,
                };
                self.nic.write(setting, number)
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
        self.tree.value("/sys/devices/system/cpu/online").unwrap_or_default()
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
        let device = format!("/sys/class/net/{}/device", self.interface);
        let folders = [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")];
        let folder = folders.into_iter().find(|folder| self.is_in_sys && self.tree.has(folder));
        let of_queue = |line: &str| {
            let mut words = line.split_whitespace();
            let irq = words.next()?.strip_suffix(':')?.to_owned();
            let is_own = self.tree.has(&format!("{}/{irq}", folder.as_ref()?));
            Some((queue_of(words.last()?)?, irq)).filter(|_| is_own)
        };
        let all = self.tree.text("/proc/interrupts").unwrap_or_default();
        let mut found: Vec<_> = all.lines().filter_map(of_queue).collect();
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
