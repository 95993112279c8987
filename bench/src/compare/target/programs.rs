//! The programs of the targets: their paths, and the commands that run them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args::CompareArgs;
use crate::compare::case::Case;
use crate::compare::pair::End;
use crate::compare::plan::Plan;
use crate::compare::shell::{self, Process, split, words};
use crate::conditions::condition;
use crate::outcome::Condition;

use super::{EXPORT, SHELF, SLOT, Target, vblade_options, xblade};

/// The paths of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    own: PathBuf,
    xblade: PathBuf,
    vblade: PathBuf,
}

/// A running target. Dropping it kills it, with everything that it has started.
#[derive(Debug)]
pub struct Running {
    /// Its process: `nsenter` and `taskset` exec it.
    pub process: Process,
    end: End,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.kill_all();
    }
}

impl Programs {
    /// Finds the programs. Optional ones (vblade, fio) may be missing: then their targets
    /// are removed from the plan, and the returned warnings report it.
    pub fn find(args: &CompareArgs, plan: &mut Plan) -> Result<(Self, Vec<String>)> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let xblade = args.xblade.clone().unwrap_or_else(|| own.with_file_name("xblade"));
        let programs = Self { own, xblade, vblade: args.vblade.clone() };
        let mut warnings = Vec::new();
        let mut leave_out = |is: fn(&Target) -> bool, program: &Path, remedy: &str| {
            if plan.targets.iter().any(is) && !is_there(program) {
                let text = format!("{} is not installed and was left out: {remedy}", program.display());
                eprintln!("xblade-bench: warning: {text}");
                warnings.push(text);
                plan.targets.retain(|target| !is(target));
            }
        };
        let remedy = "`apt-get install vblade`, or name it with --vblade";
        leave_out(Target::is_vblade, &programs.vblade, remedy);
        leave_out(Target::is_fio, Path::new("fio"), "`apt-get install fio` (3.23 or later)");
        programs.check(&plan.targets)?;
        Ok((programs, warnings))
    }

    /// Checks that all programs still in the plan exist.
    fn check(&self, targets: &[Target]) -> Result<()> {
        if targets.is_empty() {
            bail!("there is nothing left to measure: install what is missing, or give other --targets");
        }
        for target in targets {
            match target {
                Target::Xblade(_) if !self.xblade.is_file() => {
                    bail!(
                        "{}: there is no such program: name the daemon with --xblade",
                        self.xblade.display()
                    )
                }
                Target::Custom(custom) if !is_there(Path::new(custom.program())) => {
                    bail!("the target {}: there is no program `{}`", custom.name, custom.program())
                }
                _ => {}
            }
        }
        for program in ["ip", "nsenter", "taskset"] {
            if !is_there(Path::new(program)) {
                bail!("`{program}` is not installed: `apt-get install iproute2 util-linux`");
            }
        }
        Ok(())
    }

    /// The versions that the programs report.
    pub fn versions(&self, targets: &[Target]) -> Vec<Condition> {
        let said = |words: &[&str]| {
            let output = shell::output(words).map(|output| output.stdout).unwrap_or_default();
            let text = String::from_utf8_lossy(&output).trim().to_owned();
            if text.is_empty() { "unknown".to_owned() } else { text }
        };
        let any = |wanted: fn(&Target) -> bool| targets.iter().any(wanted);
        let mut versions = vec![condition("xblade-bench", env!("CARGO_PKG_VERSION"))];
        if any(Target::is_xblade) {
            versions.push(condition("xblade", said(&[&self.xblade.to_string_lossy(), "--version"])));
        }
        if any(Target::is_vblade) {
            versions.push(condition("vblade", said(&["dpkg-query", "-W", "-f=${Version}", "vblade"])));
        }
        if any(Target::is_fio) {
            versions.push(condition("fio", said(&["fio", "--version"])));
        }
        versions
    }

    /// Starts a target of the network at its end of a pair. It may take a moment until it
    /// answers.
    pub fn start(
        &self,
        target: &Target,
        case: &Case,
        plan: &Plan,
        end: &End,
        file: &Path,
    ) -> Result<Running> {
        let core = plan.target_core;
        let command = match target {
            Target::Echo => {
                let count = case.buffer_count();
                let fixed = format!("--interface {} --cpu {core} --buffer-count {count}", end.interface);
                let own = words(&[&self.own.display(), &"echo", &"--export", &EXPORT]);
                own.into_iter().chain(split(&fixed)).collect()
            }
            Target::Xblade(store) => {
                let export = xblade::export(store.as_deref(), case, file, plan.mib);
                xblade::words(&self.xblade, export, case, end, core, &plan.xblade_options)
            }
            Target::Vblade(variant) => [
                words(&[&self.vblade.display()]),
                vblade_options(*variant, case),
                words(&[&SHELF, &SLOT, &end.interface, &file.display()]),
            ]
            .concat(),
            Target::Custom(custom) => custom.command(end, file, case.mtu),
            Target::Fio { .. } => bail!("fio is no target of the network"),
        };
        let process = Process::start(&[end.run_on(core), command].concat())?;
        Ok(Running { process, end: end.clone() })
    }
}

/// Whether a program exists, at its path or in `$PATH`.
fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&folders);
    folders.any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn found(words: &str) -> Result<(Vec<Target>, Vec<String>)> {
        let words =
            ["xblade-bench", "compare", "--backing", "/tmp"].into_iter().chain(words.split_whitespace());
        let Command::Compare(args) = Args::try_parse_from(words)?.command else { bail!("another command") };
        let mut plan = Plan::new(&args)?;
        let (_, warnings) = Programs::find(&args, &mut plan)?;
        Ok((plan.targets, warnings))
    }

    #[test]
    fn what_may_be_missing_is_left_out_with_a_warning_that_has_the_remedy() {
        let (targets, warnings) = found("--vblade /no/vblade --targets echo,vblade,vblade:d").unwrap();
        assert_eq!(targets, [Target::Echo]);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("/no/vblade") && warnings[0].contains("apt-get install vblade"),
            "{warnings:?}"
        );
        assert_eq!(found("--targets echo").unwrap().1, [""; 0], "nothing is missing that nobody asked for");
    }

    #[test]
    fn what_has_to_be_there_is_an_error_by_name() {
        for (words, why) in [
            ("--targets xblade --xblade /no/xblade", "/no/xblade: there is no such program"),
            ("--targets vblade --vblade /no/vblade", "nothing left to measure"),
            (
                "--targets echo --target-cmd a=no-such-program",
                "the target a: there is no program `no-such-program`",
            ),
        ] {
            let said = found(words).unwrap_err().to_string();
            assert!(said.contains(why), "{words}: {said}");
        }
    }
}
