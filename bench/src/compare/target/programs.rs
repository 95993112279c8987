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

use super::{EXPORT, SHELF, SLOT, Target, vblade_options};

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
                let export = xblade_export(store.as_deref(), case, file, plan.mib);
                xblade_words(&self.xblade, export, case, end, core, &plan.xblade_options)
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

/// The export argument. The daemon checks the name of the store.
fn xblade_export(store: Option<&str>, case: &Case, file: &Path, mib: u64) -> String {
    let mut export = format!("{EXPORT}={}", file.display());
    if let Some(store) = store {
        export += &format!(",store={store}");
    }
    match store {
        // It has no file that gives the size, and stores nothing.
        Some("null") => export += &format!(",length={mib}MiB"),
        _ if !case.is_durable() && !export.contains(",sync=") => export += ",durability=volatile",
        _ => {}
    }
    export
}

/// The command that runs it, with the user's extra options at the end.
fn xblade_words(
    program: &Path,
    export: String,
    case: &Case,
    end: &End,
    core: usize,
    more: &[String],
) -> Vec<String> {
    let mut all = words(&[&program.display(), &"serve", &export]);
    // A production instance may run beside it.
    all.extend(split("--control none --state none"));
    all.extend(words(&[&"--interface", &end.interface, &"--cores", &core]));
    // If the user gave one, it takes precedence.
    if !more.iter().any(|word| word.starts_with("--buffer-count")) {
        all.extend(words(&[&"--buffer-count", &case.buffer_count()]));
    }
    [&all, more].concat()
}

/// Extracts from the daemon's log how it serves: its export and its rings.
pub fn xblade_told(log: &str) -> Vec<Condition> {
    let text = |line: &str| line.split_once("] ").map(|(_, text)| text.to_owned());
    let find =
        |what: &[&str]| log.lines().find(|line| what.iter().any(|word| line.contains(word))).and_then(text);
    let export = find(&[&format!("] {EXPORT}: ")]).map(|line| condition("store", line));
    let rings = find(&["copy-mode rings", "zero-copy rings"]).map(|line| condition("target's rings", line));
    let driver = find(&[": driver "]).map(|line| condition("target's interface", line));
    export.into_iter().chain(rings).chain(driver).collect()
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

#[cfg(test)]
mod xblade_tests {
    use super::*;
    use crate::args::Op;
    use crate::compare::case::Durability;

    #[test]
    fn stores_are_passed_through_and_durability_is_the_case_s() {
        let durability = Durability::Durable;
        let durable = Case { op: Op::Write, durability, ..Case::default() };
        let volatile = Case { durability: Durability::Volatile, ..durable.clone() };
        let of = |store, case| xblade_export(store, case, Path::new("/d/f"), 7);
        assert_eq!(of(None, &volatile), "0.1=/d/f,durability=volatile");
        assert_eq!(of(None, &durable), "0.1=/d/f");
        assert_eq!(of(Some("direct"), &durable), "0.1=/d/f,store=direct");
        assert_eq!(of(Some("file"), &volatile), "0.1=/d/f,store=file,durability=volatile");
        assert_eq!(of(Some("null"), &volatile), "0.1=/d/f,store=null,length=7MiB");
    }

    #[test]
    fn it_advertises_as_many_in_flight_as_the_case_has_unless_told_otherwise() {
        let case = Case { window: 200, ..Case::default() };
        let end = End { namespace: "n".to_owned(), interface: "i" };
        let of = |case: &Case, more: &[String]| {
            xblade_words(Path::new("x"), "e".to_owned(), case, &end, 1, more).join(" ")
        };
        assert_eq!(
            of(&case, &[]),
            "x serve e --control none --state none --interface i --cores 1 --buffer-count 200"
        );
        assert!(of(&Case { window: 1, ..case.clone() }, &[]).ends_with("--buffer-count 64"));
        let own = ["--buffer-count=7".to_owned()];
        assert!(of(&case, &own).ends_with("--cores 1 --buffer-count=7"));
    }

    #[test]
    fn its_log_tells_how_it_serves() {
        let log = "[T INFO ] 0.1: /d/f (direct), 16 sectors\n[T INFO ] v0: driver veth, MTU 1500, 1 queue\n\
                   [T INFO ] v0 queue 0: copy-mode rings, rx 512\n[T INFO ] ready: 1 export on v0\n";
        let told = xblade_told(log);
        let values: Vec<(&str, &str)> = told.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
        assert_eq!(
            values,
            [
                ("store", "0.1: /d/f (direct), 16 sectors"),
                ("target's rings", "v0 queue 0: copy-mode rings, rx 512"),
                ("target's interface", "v0: driver veth, MTU 1500, 1 queue"),
            ]
        );
    }
}
