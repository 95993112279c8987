//! The targets that are compared: how each is started, and that it ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::args::CompareArgs;

use super::pair::End;

/// Address that every target answers at.
pub const EXPORT: &str = "0.1";

/// A target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The echo: the ceiling.
    Echo,
    /// The daemon.
    Xblade,
    /// The daemon, without a store.
    XbladeNull,
    /// What is replaced.
    Vblade,
}

impl Kind {
    /// Those to compare.
    pub fn list(args: &CompareArgs) -> Vec<Self> {
        let all = [Self::Echo, Self::XbladeNull, Self::Xblade, Self::Vblade];
        all.into_iter().filter(|kind| args.null_store || *kind != Self::XbladeNull).collect()
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Xblade => "xblade",
            Self::XbladeNull => "xblade store=null",
            Self::Vblade => "vblade -b 64",
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When the kernel has it.
    Volatile,
    /// When stable storage has it.
    Durable,
}

/// The programs, the file that is exported, and where they run.
#[derive(Clone, Debug)]
pub struct Programs {
    echo: PathBuf,
    xblade: PathBuf,
    vblade: PathBuf,
    core: usize,
    mib: u64,
}

impl Programs {
    /// Finds them.
    pub fn new(args: &CompareArgs) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let xblade = args.xblade.clone().unwrap_or_else(|| own.with_file_name("xblade"));
        if !xblade.is_file() {
            anyhow::bail!("{}: there is no such program: name the daemon with --xblade", xblade.display());
        }
        Ok(Self { echo: own, xblade, vblade: args.vblade.clone(), core: args.target_core, mib: args.mib })
    }

    /// What the programs say of their versions.
    pub fn versions(&self) -> Vec<String> {
        let own = format!("xblade-bench {}", env!("CARGO_PKG_VERSION"));
        let said = super::shell::output(&[&self.xblade.to_string_lossy(), "--version"]);
        let xblade = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let package = super::shell::output(&["dpkg-query", "-W", "-f=${Version}", "vblade"]);
        let vblade = package.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        vec![xblade.unwrap_or_default(), own, format!("vblade {}", vblade.unwrap_or_default())]
    }

    fn words(&self, kind: Kind, end: &End, file: &Path, durability: Durability) -> Vec<String> {
        let (file, core) = (file.to_string_lossy(), self.core.to_string());
        let volatile = durability == Durability::Volatile;
        let mut words = vec![];
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        match kind {
            Kind::Echo => {
                add(&[&self.echo.to_string_lossy(), "echo", "--export", EXPORT]);
                add(&["--interface", end.interface, "--cpu", &core]);
            }
            Kind::Xblade | Kind::XbladeNull => {
                let option = match (kind, volatile) {
                    (Kind::XbladeNull, _) => &format!(",store=null,length={}MiB", self.mib),
                    (_, true) => ",durability=volatile",
                    _ => "",
                };
                add(&[&self.xblade.to_string_lossy(), "serve", &format!("{EXPORT}={file}{option}")]);
                add(&["--interface", end.interface, "--cores", &core]);
            }
            Kind::Vblade => {
                add(&[&self.vblade.to_string_lossy(), "-b", "64"]);
                add(if volatile { &[] } else { &["-s"] });
                add(&["0", "1", end.interface, &file]);
            }
        }
        words
    }

    /// Starts a target. It may take a moment until it answers.
    pub fn start(&self, kind: Kind, end: &End, file: &Path, durability: Durability) -> Result<Running> {
        let words = [end.run_on(self.core), self.words(kind, end, file, durability)].concat();
        let (program, args) = words.split_first().context("no program to run")?;
        let log = std::env::temp_dir().join(format!("xbb-{}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{}`", words.join(" ")))?;
        Ok(Running { child, log, words })
    }
}

/// A target that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    words: Vec<String>,
}

impl Running {
    /// Its process: `nsenter` and `taskset` became it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was and what it said, for an error.
    pub fn story(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("`{}` said: {}", self.words.join(" "), said.trim())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without a farewell: nobody needs its file afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
