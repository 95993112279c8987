//! The targets that are compared: how each is named and started, and that it ends.

mod echo;
pub mod fio;
mod running;
mod vblade;
mod xblade;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::args::CompareArgs;

use super::case::Case;
use super::pair::End;
use super::shell;

pub use running::Running;
pub use vblade::Mode;

/// Address that every target answers at.
pub const EXPORT: &str = "0.1";

/// A target of `--targets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The echo: the ceiling of the path.
    Echo,
    /// The daemon, with the store that it picks, or with the one that is named.
    Xblade(Option<String>),
    /// What is replaced.
    Vblade(Mode),
    /// fio on the bare file: what the store gives to one who has no network.
    Fio {
        /// The generator's core is busy meanwhile, as it is for every target of
        /// the network: on a small machine the disk itself is slower then.
        busy: bool,
    },
}

/// The programs, the file that is exported, and where they run.
#[derive(Clone, Debug)]
pub struct Programs {
    own: PathBuf,
    xblade: PathBuf,
    vblade: PathBuf,
    xblade_options: Vec<String>,
    core: usize,
    mib: u64,
}

impl Target {
    /// Those to compare.
    pub fn list(args: &CompareArgs) -> Vec<Self> {
        if !args.targets.is_empty() {
            return args.targets.clone();
        }
        let null = args.null_store.then(|| Self::Xblade(Some("null".to_owned())));
        let rest = [Self::Xblade(None), Self::Vblade(Mode::AsNeeded)];
        [Self::Echo].into_iter().chain(null).chain(rest).collect()
    }

    /// Its name in reports. One that does not keep what a durable case asks
    /// for says so.
    pub fn name(&self, case: &Case) -> String {
        let name = match self {
            Self::Echo => "echo".to_owned(),
            Self::Xblade(None) => "xblade".to_owned(),
            Self::Xblade(Some(store)) => format!("xblade store={store}"),
            Self::Vblade(mode) => format!("vblade {}", mode.options(case).join(" ")),
            Self::Fio { busy: false } => "fio".to_owned(),
            Self::Fio { busy: true } => "fio beside a busy core".to_owned(),
        };
        if case.is_durable() && !self.is_durable(case) { name + " (not durable)" } else { name }
    }

    /// Whether it is fio, beside whatever.
    pub fn is_fio(&self) -> bool {
        matches!(self, Self::Fio { .. })
    }

    fn is_durable(&self, case: &Case) -> bool {
        match self {
            Self::Echo => false,
            Self::Xblade(store) => store.as_deref() != Some("null"),
            Self::Vblade(mode) => mode.is_durable(case),
            Self::Fio { .. } => true,
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
            // Whether there is such a store is for the daemon to say.
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

impl Programs {
    /// Finds them.
    pub fn new(args: &CompareArgs) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let xblade = args.xblade.clone().unwrap_or_else(|| own.with_file_name("xblade"));
        let targets = Target::list(args);
        if targets.iter().any(|target| matches!(target, Target::Xblade(_))) && !xblade.is_file() {
            bail!("{}: there is no such program: name the daemon with --xblade", xblade.display());
        }
        if targets.iter().any(Target::is_fio) {
            shell::run(&["fio", "--version"]).context("the target fio needs fio (3.23 or later)")?;
        }
        let options = args.xblade_option.iter().flat_map(|text| text.split_whitespace());
        Ok(Self {
            own,
            xblade,
            vblade: args.vblade.clone(),
            xblade_options: options.map(str::to_owned).collect(),
            core: args.target_core,
            mib: args.mib,
        })
    }

    /// What the programs say of their versions.
    pub fn versions(&self, targets: &[Target]) -> Vec<String> {
        let said = |words: &[&str]| {
            let output = shell::output(words).map(|output| output.stdout).unwrap_or_default();
            String::from_utf8_lossy(&output).trim().to_owned()
        };
        let any = |wanted: fn(&Target) -> bool| targets.iter().any(wanted);
        let mut versions = vec![format!("xblade-bench {}", env!("CARGO_PKG_VERSION"))];
        if any(|target| matches!(target, Target::Xblade(_))) {
            versions.push(said(&[&self.xblade.to_string_lossy(), "--version"]));
        }
        if any(|target| matches!(target, Target::Vblade(_))) {
            versions.push(format!("vblade {}", said(&["dpkg-query", "-W", "-f=${Version}", "vblade"])));
        }
        if any(Target::is_fio) {
            versions.push(said(&["fio", "--version"]));
        }
        versions
    }

    /// Starts a target of the network. It may take a moment until it answers.
    pub fn start(&self, target: &Target, case: &Case, end: &End, file: &Path) -> Result<Running> {
        let words = match target {
            Target::Echo => echo::words(&self.own, end, self.core),
            Target::Xblade(store) => self.xblade_words(store.as_deref(), case, end, file),
            Target::Vblade(mode) => vblade::words(&self.vblade, mode.options(case), end, file),
            Target::Fio { .. } => bail!("fio is no target of the network"),
        };
        Running::start([end.run_on(self.core), words].concat())
    }

    fn xblade_words(&self, store: Option<&str>, case: &Case, end: &End, file: &Path) -> Vec<String> {
        let export = xblade::export(store, case, file, self.mib);
        xblade::words(&self.xblade, export, end, self.core, &self.xblade_options)
    }

    /// The words that run fio as long as another target is measured.
    pub fn fio_words(&self, case: &Case, file: &Path, seconds: f64, result: &Path) -> Vec<String> {
        let core = self.core.to_string();
        let pinned = ["taskset", "-c", &core].map(str::to_owned);
        [&pinned[..], &fio::words(case, file, self.mib, seconds, result)].concat()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::args::{Args, Command};

    use super::*;
    use clap::Parser;

    fn targets(words: &str) -> Result<Vec<Target>, clap::Error> {
        let words = ["xblade-bench", "compare"].into_iter().chain(words.split_whitespace());
        Args::try_parse_from(words).map(|args| match args.command {
            Command::Compare(args) => Target::list(&args),
            _ => vec![],
        })
    }

    fn names(words: &str, case: &str) -> Vec<String> {
        let arguments = format!("{words} --case {case} --mtu 9000");
        let parsed = ["xblade-bench", "compare"].into_iter().chain(arguments.split_whitespace());
        let Command::Compare(args) = Args::parse_from(parsed).command else { return vec![] };
        let case = Case::list(&args).unwrap()[0];
        Target::list(&args).iter().map(|target| target.name(&case)).collect()
    }

    #[test]
    fn without_a_list_the_usual_ones_are_compared() {
        assert_eq!(names("", "read:4096"), ["echo", "xblade", "vblade -b 64"]);
        assert_eq!(names("--null-store", "read:4096")[1], "xblade store=null");
        assert!(targets("--null-store --targets echo").is_err(), "name it in the list");
    }

    #[test]
    fn a_list_names_stores_and_variants_and_says_who_is_not_durable() {
        let list = "--targets fio,xblade:direct,xblade:null,vblade,vblade:cache,vblade:s,vblade:d,vblade:ds";
        assert_eq!(
            names(list, "write-durable:4096"),
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
        assert_eq!(names("--targets vblade,vblade:d", "read:4096"), ["vblade -b 64", "vblade -b 64 -d"]);
    }

    #[test]
    fn a_wrong_target_is_refused_by_name() {
        for wrong in ["ublade", "xblade:", "vblade:x", "fio:x", "echo:", ""] {
            let said = targets(&format!("--targets={wrong}")).unwrap_err().to_string();
            assert!(said.contains("vblade[:cache|s|d|ds]"), "{wrong}: {said}");
        }
    }
}
