//! The compared targets: their names, how they are started and how they are stopped.

mod custom;
mod echo;
pub mod fio;
mod programs;
mod running;
mod vblade;
pub mod xblade;

use std::str::FromStr;

use anyhow::{Result, bail};

use crate::args::Op;

use super::case::Case;

pub use custom::CustomTarget;
pub use programs::Programs;
pub use running::Running;
pub use vblade::Mode;

/// The address of every target.
pub const EXPORT: &str = "0.1";
/// Its shelf.
pub const SHELF: u16 = 0;
/// Its slot.
pub const SLOT: u8 = 1;

/// A target of `--targets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The echo: the ceiling of the path.
    Echo,
    /// The daemon, with its default store or the named one.
    Xblade(Option<String>),
    /// vblade, which xblade replaces.
    Vblade(Mode),
    /// fio on the bare file: what the storage does without a network.
    Fio {
        /// Keeps the generator's core busy meanwhile, as it is for every target of the
        /// network. On a small machine that slows the disk itself.
        busy: bool,
    },
    /// A custom target.
    Custom(CustomTarget),
}

impl Target {
    /// Its name in reports. It shows if the target does not keep the durability of the
    /// case.
    pub fn name(&self, case: &Case) -> String {
        let name = match self {
            Self::Echo => "echo".to_owned(),
            Self::Xblade(None) => "xblade".to_owned(),
            Self::Xblade(Some(store)) => format!("xblade store={store}"),
            Self::Vblade(mode) => format!("{} {}", Mode::PROGRAM, mode.options(case).join(" ")),
            Self::Fio { busy: false } => "fio".to_owned(),
            Self::Fio { busy: true } => "fio beside a busy core".to_owned(),
            Self::Custom(custom) => custom.name.clone(),
        };
        if case.is_durable() && !self.is_durable(case) { name + " (not durable)" } else { name }
    }

    /// Whether it is fio, in any variant.
    pub fn is_fio(&self) -> bool {
        matches!(self, Self::Fio { .. })
    }

    /// Whether it stores data, in its own file.
    pub fn has_file(&self) -> bool {
        match self {
            Self::Echo => false,
            Self::Xblade(store) => store.as_deref() != Some("null"),
            Self::Vblade(_) | Self::Fio { .. } | Self::Custom(_) => true,
        }
    }

    /// Whether it can be measured in a case: data can only be checked where it is stored,
    /// and fio generates its own addresses.
    pub fn fits(&self, case: &Case) -> bool {
        match self {
            _ if case.verify && !self.has_file() => false,
            Self::Fio { .. } => case.is_random() && !case.verify,
            _ => true,
        }
    }

    /// For a custom target, the user must know what it promises.
    fn is_durable(&self, case: &Case) -> bool {
        match self {
            Self::Echo => false,
            Self::Xblade(store) => store.as_deref() != Some("null"),
            Self::Vblade(mode) => mode.is_durable(case),
            Self::Fio { .. } | Self::Custom(_) => true,
        }
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, variant) = match text.split_once(':') {
            Some((name, variant)) => (name, Some(variant)),
            None => (text, None),
        };
        match (name, variant) {
            ("echo", None) => Ok(Self::Echo),
            ("fio", None) => Ok(Self::Fio { busy: false }),
            ("fio", Some("busy")) => Ok(Self::Fio { busy: true }),
            // The daemon checks whether there is such a store.
            ("xblade", store) if store != Some("") => {
                Ok(Self::Xblade(store.map(|store| store.replace('+', ","))))
            }
            ("vblade", mode) => Mode::parse(mode).map(Self::Vblade),
            _ => {
                bail!("'{text}' is no target: give echo, xblade[:STORE], vblade[:cache|s|d|ds] or fio[:busy]")
            }
        }
    }
}

/// Whether a case has reads, and whether it has writes.
fn directions(case: &Case) -> (bool, bool) {
    (case.op != Op::Write, case.op != Op::Read)
}

#[cfg(test)]
mod tests {
    use super::super::case::Durability;
    use super::*;

    fn names(list: &str, case: &Case) -> Vec<String> {
        list.split(',').map(|word| word.parse::<Target>().unwrap().name(case)).collect()
    }

    #[test]
    fn names_tell_stores_and_variants_and_who_is_not_durable() {
        let list = "fio,xblade:direct,xblade:null,vblade,vblade:cache,vblade:s,vblade:d,vblade:ds";
        let durable = Case { op: Op::Write, durability: Durability::Durable, ..Case::default() };
        assert_eq!(
            names(list, &durable),
            [
                "fio",
                "xblade store=direct",
                "xblade store=null (not durable)",
                "vblade -b 64 -s",
                "vblade -b 64 (not durable)",
                "vblade -b 64 -s",
                "vblade -b 64 -d (not durable)",
                "vblade -b 64 -d -s",
            ]
        );
        let wide = Case { window: 100, ..Case::default() };
        assert_eq!(
            names("vblade,vblade:d,xblade:file+sync=each", &wide),
            ["vblade -b 100", "vblade -b 100 -d", "xblade store=file,sync=each"]
        );
    }

    #[test]
    fn data_are_checked_only_where_they_are_kept() {
        let target = |word: &str| word.parse::<Target>().unwrap();
        let checked = Case { verify: true, ..Case::default() };
        let fitting = |case: &Case| {
            ["echo", "xblade", "xblade:null", "vblade", "fio"].map(|word| target(word).fits(case))
        };
        assert_eq!(fitting(&checked), [false, true, false, true, false]);
        assert_eq!(fitting(&Case::default()), [true; 5]);
        let pattern = Some("sequential".to_owned());
        assert_eq!(fitting(&Case { pattern, ..Case::default() }), [true, true, true, true, false]);
        assert_eq!(
            ["echo", "xblade", "xblade:null"].map(|word| target(word).has_file()),
            [false, true, false]
        );
    }

    #[test]
    fn a_wrong_target_is_refused_by_name() {
        for wrong in ["ublade", "xblade:", "vblade:x", "fio:x", "echo:", ""] {
            let said = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(said.contains("vblade[:cache|s|d|ds]"), "{wrong}: {said}");
        }
    }
}
