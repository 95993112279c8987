//! The compared targets: their names, and the commands that run them.

mod custom;
pub mod fio;
mod programs;

use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::case::Case;
use super::shell::words;

pub use custom::CustomTarget;
pub use programs::{Programs, Running, xblade_told};

/// The address of every target.
pub const EXPORT: &str = "0.1";
/// Its shelf.
pub const SHELF: u16 = 0;
/// Its slot.
pub const SLOT: u8 = 1;
/// The variants of vblade, with their options: `-s` is O_SYNC, `-d` O_DIRECT. Without
/// `-s`, data in the cache of the device is not on stable storage.
const VBLADE: [(&str, &[&str]); 4] = [("cache", &[]), ("s", &["-s"]), ("d", &["-d"]), ("ds", &["-d", "-s"])];

/// A target of `--targets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The echo: the ceiling of the path.
    Echo,
    /// The daemon, with its default store or the named one.
    Xblade(Option<String>),
    /// vblade, which xblade replaces, with the options of a variant; if `None`, with
    /// `-s` where a case is durable.
    Vblade(Option<&'static [&'static str]>),
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
            Self::Vblade(options) => format!("vblade {}", vblade_options(*options, case).join(" ")),
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

    /// Whether it is vblade, in any variant.
    pub fn is_vblade(&self) -> bool {
        matches!(self, Self::Vblade(_))
    }

    /// Whether it is the daemon, with any store.
    pub fn is_xblade(&self) -> bool {
        matches!(self, Self::Xblade(_))
    }

    /// Whether it stores data, in its own file.
    pub fn has_file(&self) -> bool {
        match self {
            Self::Echo => false,
            Self::Xblade(store) => store.as_deref() != Some("null"),
            _ => true,
        }
    }

    /// Whether it can be measured in a case: data can only be checked where it is stored,
    /// and fio generates its own addresses.
    pub fn fits(&self, case: &Case) -> bool {
        (!case.verify || self.has_file()) && (!self.is_fio() || (case.is_random() && !case.verify))
    }

    /// For a custom target, the user must know what it promises.
    fn is_durable(&self, case: &Case) -> bool {
        match self {
            Self::Vblade(options) => vblade_options(*options, case).iter().any(|option| option == "-s"),
            _ => self.has_file(),
        }
    }
}

/// The options of a variant of vblade in a case.
fn vblade_options(variant: Option<&[&str]>, case: &Case) -> Vec<String> {
    let as_needed: &[&str] = if case.is_durable() { &["-s"] } else { &[] };
    let mut options = words(&[&"-b", &case.buffer_count()]);
    options.extend(variant.unwrap_or(as_needed).iter().map(ToString::to_string));
    options
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let vblade = |wanted| VBLADE.iter().find(|(name, _)| *name == wanted).map(|(_, options)| *options);
        Ok(match text.split_once(':').map_or((text, None), |(name, variant)| (name, Some(variant))) {
            ("echo", None) => Self::Echo,
            ("fio", None) => Self::Fio { busy: false },
            ("fio", Some("busy")) => Self::Fio { busy: true },
            // The daemon checks whether there is such a store.
            ("xblade", store) if store != Some("") => {
                Self::Xblade(store.map(|store| store.replace('+', ",")))
            }
            ("vblade", None) => Self::Vblade(None),
            ("vblade", Some(name)) if vblade(name).is_some() => Self::Vblade(vblade(name)),
            _ => {
                bail!("'{text}' is no target: give echo, xblade[:STORE], vblade[:cache|s|d|ds] or fio[:busy]")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Durability;
    use super::*;
    use crate::args::Op;

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
