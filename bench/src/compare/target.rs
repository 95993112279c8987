//! The compared targets: their names, and the commands that run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use serde_json::Value;

use crate::args::CompareArgs;
use crate::conditions::condition;
use crate::load::Pattern;
use crate::outcome::{Condition, Inside};

use super::case::Case;
use super::files::Served;
use super::pair::End;
use super::plan::Plan;
use super::shell;

/// The address of the first export, its shelf and its slot.
const EXPORT: &str = "0.1";
const SHELF: &str = "0";
const SLOT: &str = "1";
/// The daemon, and an earlier build of it, as targets.
pub const XBLADE: &str = "xblade";
pub const BEFORE: &str = "before";
/// The variants of vblade, with their options: `-s` is O_SYNC, `-d` O_DIRECT. Without
/// `-s`, data in the cache of the device is not on stable storage.
const VBLADE: [(&str, &str); 4] = [("cache", ""), ("s", " -s"), ("d", " -d"), ("ds", " -d -s")];

/// A target of `--targets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The echo: the ceiling of the path.
    Echo,
    /// The daemon.
    Xblade {
        /// Whether it is the build of `--before`.
        before: bool,
        /// Its store, with options; if `None`, its default one.
        store: Option<String>,
        /// Whether it runs with `--idle spin`.
        spin: bool,
    },
    /// vblade, which xblade replaces, with the options of a variant; if `None`, with
    /// `-s` where a case is durable.
    Vblade(Option<&'static str>),
    /// fio on the bare file: what the storage does without a network.
    Fio {
        /// Keeps the generator's core busy meanwhile, as it is for every target of the
        /// network. On a small machine that slows the disk itself.
        busy: bool,
    },
    /// A target of `--target-cmd`: its name, and its command with placeholders.
    Custom(String, Vec<String>),
}

impl Target {
    /// Its name in reports. It shows if the target does not keep the durability of the
    /// case.
    pub fn name(&self, case: &Case) -> String {
        let name = match self {
            Self::Echo => "echo".to_owned(),
            Self::Xblade { before, store, spin } => {
                let store = store.as_ref().map_or(String::new(), |store| format!(" store={store}"));
                let (name, idle) =
                    (if *before { BEFORE } else { XBLADE }, if *spin { " idle=spin" } else { "" });
                format!("{name}{store}{idle}")
            }
            Self::Vblade(options) => format!("vblade{}", vblade_options(*options, case)),
            Self::Fio { busy: false } => "fio".to_owned(),
            Self::Fio { busy: true } => "fio beside a busy core".to_owned(),
            Self::Custom(name, _) => name.clone(),
        };
        // For a custom target, the user must know what it promises.
        let is_durable = match self {
            Self::Vblade(options) => vblade_options(*options, case).contains("-s"),
            _ => self.has_file(),
        };
        if case.durable && !is_durable { name + " (not durable)" } else { name }
    }

    /// Whether it is fio, in any variant.
    pub fn is_fio(&self) -> bool {
        matches!(self, Self::Fio { .. })
    }

    /// Whether it stores data, in its own file.
    pub fn has_file(&self) -> bool {
        match self {
            Self::Echo => false,
            Self::Xblade { store, .. } => store.as_deref() != Some("null"),
            _ => true,
        }
    }

    /// Whether it can be measured in a case: data can only be checked where it is stored, fio
    /// generates its own addresses, and others serve one export.
    pub fn fits(&self, case: &Case) -> bool {
        let fits = match self {
            Self::Echo | Self::Xblade { .. } => true,
            Self::Fio { .. } => case.pattern == Pattern::Random && !case.verify,
            Self::Vblade(_) | Self::Custom(..) => case.is_single(),
        };
        fits && (!case.verify || self.has_file())
    }

    /// A target of `--target-cmd`, from NAME=COMMAND.
    pub fn custom(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("give NAME=COMMAND")?;
        let words =
            shlex::split(command).with_context(|| format!("'{command}': a quotation mark is open"))?;
        ensure!(!name.trim().is_empty() && !words.is_empty(), "'{text}': give NAME=COMMAND");
        Ok(Self::Custom(name.trim().to_owned(), words))
    }
}

/// Whether this may follow `xblade:`. The daemon checks whether there is such a store.
fn is_xblade(variant: Option<&str>) -> bool {
    let words: Vec<&str> = variant.map_or(vec![], |variant| variant.split(':').collect());
    words.iter().all(|word| !word.is_empty()) && matches!(words.as_slice(), [] | [_] | [_, "spin"])
}

/// The options of a variant of vblade in a case.
fn vblade_options(variant: Option<&'static str>, case: &Case) -> &'static str {
    variant.unwrap_or(if case.durable { " -s" } else { "" })
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, variant) = text.split_once(':').map_or((text, None), |(name, more)| (name, Some(more)));
        let vblade = VBLADE.iter().find(|(name, _)| Some(*name) == variant).map(|(_, options)| *options);
        Ok(match (name, variant) {
            ("echo", None) => Self::Echo,
            ("fio", None) => Self::Fio { busy: false },
            ("fio", Some("busy")) => Self::Fio { busy: true },
            (XBLADE | BEFORE, variant) if is_xblade(variant) => {
                let (store, spin) = match variant.and_then(|variant| variant.strip_suffix("spin")) {
                    Some(store) if store.is_empty() || store.ends_with(':') => {
                        (store.strip_suffix(':'), true)
                    }
                    _ => (variant, false),
                };
                let store = store.map(|store| store.replace('+', ","));
                Self::Xblade { before: name == BEFORE, store, spin }
            }
            ("vblade", None) => Self::Vblade(None),
            ("vblade", Some(_)) if vblade.is_some() => Self::Vblade(vblade),
            _ => {
                bail!(
                    "'{text}' is no target: give echo, xblade[:STORE][:spin], before[:STORE][:spin], \
                     vblade[:cache|s|d|ds] or fio[:busy]"
                )
            }
        })
    }
}

/// The paths of the programs.
#[derive(Debug)]
pub struct Programs {
    /// This program.
    pub own: PathBuf,
    xblade: PathBuf,
    before: Option<PathBuf>,
    vblade: PathBuf,
}

impl Programs {
    /// Finds the programs. Optional ones (vblade, fio) may be missing: then their targets
    /// are removed from the plan, and the returned warnings report it.
    pub fn find(args: &CompareArgs, plan: &mut Plan) -> Result<(Self, Vec<String>)> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let xblade = args.xblade.clone().unwrap_or_else(|| own.with_file_name("xblade"));
        let programs = Self { own, xblade, before: args.before.clone(), vblade: args.vblade.clone() };
        let mut warnings = Vec::new();
        for target in &plan.targets {
            let program = programs.of(target);
            let remedy = match target {
                _ if is_there(program) => continue,
                Target::Vblade(_) => "`apt-get install vblade`, or name it with --vblade",
                Target::Fio { .. } => "`apt-get install fio` (3.23 or later)",
                Target::Custom(name, _) => {
                    bail!("the target {name}: there is no program `{}`", program.display())
                }
                Target::Xblade { before: true, .. } => {
                    bail!(
                        "{}: there is no such program: name the build before with --before",
                        program.display()
                    )
                }
                _ => bail!("{}: there is no such program: name the daemon with --xblade", program.display()),
            };
            let text = format!("{} is not installed and was left out: {remedy}", program.display());
            eprintln!("xblade-bench: warning: {text}");
            warnings.push(text);
        }
        warnings.dedup();
        plan.targets.retain(|target| is_there(programs.of(target)));
        ensure!(
            !plan.targets.is_empty(),
            "there is nothing left to measure: install what is missing, or give other --targets"
        );
        Ok((programs, warnings))
    }

    fn of<'a>(&'a self, target: &'a Target) -> &'a Path {
        match target {
            Target::Echo => &self.own,
            Target::Xblade { before: true, .. } => self.before.as_deref().unwrap_or(Path::new(BEFORE)),
            Target::Xblade { .. } => &self.xblade,
            Target::Vblade(_) => &self.vblade,
            Target::Fio { .. } => Path::new("fio"),
            Target::Custom(_, words) => Path::new(words.first().map_or("", String::as_str)),
        }
    }

    /// The versions that the programs report.
    pub fn versions(&self, targets: &[Target]) -> Vec<Condition> {
        let mut versions = vec![condition("xblade-bench", env!("CARGO_PKG_VERSION"))];
        for target in targets {
            let program = self.of(target).to_string_lossy();
            let (name, words) = match target {
                Target::Xblade { before: true, .. } => (BEFORE, vec![&*program, "--version"]),
                Target::Xblade { .. } => (XBLADE, vec![&*program, "--version"]),
                Target::Vblade(_) => ("vblade", vec!["dpkg-query", "-W", "-f=${Version}", "vblade"]),
                Target::Fio { .. } => ("fio", vec![&*program, "--version"]),
                _ => continue,
            };
            let said = shell::run(&words).unwrap_or_else(|_| "unknown".to_owned());
            let from = if name == BEFORE { format!(", {program}") } else { String::new() };
            let version = condition(name, said.trim().to_owned() + &from);
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    /// The command of a target of the network at its end of a pair.
    pub fn command(&self, target: &Target, case: &Case, plan: &Plan, end: &End, served: &Served) -> Command {
        let mut command = end.command(plan.target_core, self.of(target));
        let (core, count) = (plan.target_core.to_string(), case.buffer_count().to_string());
        let file = served.exports.first().map_or(Path::new(""), |(_, file)| file);
        match target {
            Target::Echo => command
                .args(format!("echo --export {EXPORT} --cpu {core} --buffer-count {count}").split(' '))
                .args(["--interface", &end.interface, "--exports", &case.busy.to_string()]),
            // A production instance may run beside it. Options of the user take precedence.
            Target::Xblade { store, spin, .. } => {
                let has_count = plan.xblade_options.iter().any(|word| word.starts_with("--buffer-count"));
                let export = |export| xblade_export(store.as_deref(), case, export, plan.mib);
                command
                    .arg("serve")
                    .args(served.exports.iter().map(export))
                    .arg("--control")
                    .arg(&served.control)
                    .args(format!("--state none --cores {core}").split(' '))
                    .args(["--interface", &end.interface])
                    .args(if has_count { vec![] } else { vec!["--buffer-count", &count] })
                    .args(if *spin { vec!["--idle", "spin"] } else { vec![] })
                    .args(&plan.xblade_options)
            }
            Target::Vblade(variant) => command
                .args(["-b", &count])
                .args(vblade_options(*variant, case).split_whitespace())
                .args([SHELF, SLOT, &end.interface])
                .arg(file),
            Target::Custom(_, words) => {
                let (file, mtu) = (file.to_string_lossy(), case.mtu.to_string());
                let places = ["{interface}", "{file}", "{shelf}", "{slot}", "{mtu}"];
                let places = places.iter().zip([end.interface.as_str(), &file, SHELF, SLOT, &mtu]);
                let fill = |word: &String| {
                    places.clone().fold(word.clone(), |word, (place, value)| word.replace(place, value))
                };
                command.args(words.iter().skip(1).map(fill))
            }
            Target::Fio { .. } => &mut command,
        };
        command
    }

    /// The times from arrival to reply that a running target has counted since its start: those of
    /// its first export, of the operation that it executed most. `None` if it counts none.
    pub fn inside(&self, target: &Target, control: &Path) -> Option<Inside> {
        let Target::Xblade { .. } = target else { return None };
        let program = self.of(target).to_string_lossy();
        inside(&shell::run(&[&program, "stats", "--json", "--control", &control.to_string_lossy()]).ok()?)
    }
}

/// From the answer of `xblade stats`.
fn inside(stats: &str) -> Option<Inside> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let exports = stats["exports"].as_array()?.iter();
    let times = exports
        .filter(|export| export["address"] == EXPORT)
        .filter_map(|export| export["response"].as_object());
    let inside = |times: &Value| {
        let us = |name| Some(times[name].as_f64()? / 1e3);
        Some(Inside { count: times["count"].as_u64()?, p50_us: us("p50-ns")?, p99_us: us("p99-ns")? })
    };
    let all = times.flat_map(|times| times.values()).filter_map(inside);
    all.filter(|times| times.count > 0).max_by_key(|times| times.count)
}

/// Whether a program exists, at its path or in `$PATH`.
fn is_there(program: &Path) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&folders);
    program.is_file()
        || (program.components().count() == 1 && folders.any(|folder| folder.join(program).is_file()))
}

/// The export argument. The daemon checks the name of the store.
fn xblade_export(store: Option<&str>, case: &Case, (address, file): &(String, PathBuf), mib: u64) -> String {
    let export = format!("{address}={}", file.display());
    let store = store.map_or(String::new(), |store| format!(",store={store}"));
    let more = match store.as_str() {
        // It has no file that gives the size, and stores nothing.
        ",store=null" => format!(",length={mib}MiB"),
        _ if !case.durable && !store.contains(",sync=") => ",durability=volatile".to_owned(),
        _ => String::new(),
    };
    export + &store + &more
}

/// Extracts from the daemon's log how it serves: its export, its rings and its interface.
pub fn xblade_told(log: &str) -> impl Iterator<Item = Condition> {
    let texts = log.lines().filter_map(|line| line.split_once("] "));
    let telling = |text: &&str| {
        let export = text.strip_prefix(EXPORT).is_some_and(|rest| rest.starts_with(": "));
        export || ["copy-mode rings", "zero-copy rings", ": driver "].iter().any(|word| text.contains(word))
    };
    texts.map(|(_, text)| text).filter(telling).map(|text| condition("xblade", text))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Args, Command as Subcommand};

    fn target(word: &str) -> Target {
        word.parse().unwrap()
    }

    fn case(word: &str) -> Case {
        word.parse().unwrap()
    }

    fn names(list: &str, case: &Case) -> Vec<String> {
        list.split(',').map(|word| target(word).name(case)).collect()
    }

    #[test]
    fn names_tell_stores_and_variants_and_who_is_not_durable() {
        let list = "fio,xblade:direct,xblade:null,vblade,vblade:cache,vblade:s,vblade:d,vblade:ds";
        assert_eq!(
            names(list, &case("write-durable:4096")),
            [
                "fio",
                "xblade store=direct",
                "xblade store=null (not durable)",
                "vblade -s",
                "vblade (not durable)",
                "vblade -s",
                "vblade -d (not durable)",
                "vblade -d -s",
            ]
        );
        assert_eq!(
            names("vblade,vblade:d,xblade:file+sync=each", &case("read:512:100")),
            ["vblade", "vblade -d", "xblade store=file,sync=each"]
        );
        assert_eq!(
            names("xblade:spin,before,before:mmap,before:direct+sync=each:spin", &case("read:512")),
            ["xblade idle=spin", "before", "before store=mmap", "before store=direct,sync=each idle=spin"]
        );
    }

    #[test]
    fn data_are_checked_only_where_they_are_kept() {
        let usual = case("read:4096");
        let checked = Case { verify: true, ..usual };
        let fitting = |case: &Case| {
            ["echo", "xblade", "xblade:null", "vblade", "fio"].map(|word| target(word).fits(case))
        };
        assert_eq!(fitting(&checked), [false, true, false, true, false]);
        assert_eq!(fitting(&usual), [true; 5]);
        assert_eq!(fitting(&Case { pattern: Pattern::Sequential, ..usual }), [true, true, true, true, false]);
        assert_eq!(
            ["echo", "xblade", "xblade:null"].map(|word| target(word).has_file()),
            [false, true, false]
        );
    }

    #[test]
    fn a_wrong_target_is_refused_by_name() {
        for wrong in [
            "ublade",
            "xblade:",
            "xblade::spin",
            "before:mmap:x",
            "xblade:a:b:spin",
            "vblade:x",
            "fio:x",
            "echo:",
            "",
        ] {
            let said = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(said.contains("vblade[:cache|s|d|ds]"), "{wrong}: {said}");
        }
        for (wrong, why) in [
            ("serve", "NAME=COMMAND"),
            ("=serve", "NAME=COMMAND"),
            ("a=", "NAME=COMMAND"),
            ("a=s 'x", "mark"),
        ] {
            let said = Target::custom(wrong).unwrap_err().to_string();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }

    fn plan(words: &str) -> Result<(Plan, Programs, Vec<String>)> {
        let words =
            ["xblade-bench", "compare", "--backing", "/tmp"].into_iter().chain(words.split_whitespace());
        let Subcommand::Compare(args) = Args::try_parse_from(words)?.command else {
            bail!("another command")
        };
        let mut plan = Plan::new(&args)?;
        let (programs, warnings) = Programs::find(&args, &mut plan)?;
        Ok((plan, programs, warnings))
    }

    #[test]
    fn what_may_be_missing_is_left_out_with_a_warning_that_has_the_remedy() {
        let (plan_then, _, warnings) = plan("--vblade /no/vblade --targets echo,vblade,vblade:d").unwrap();
        assert_eq!(plan_then.targets, [Target::Echo]);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("/no/vblade") && warnings[0].contains("apt-get install vblade"),
            "{warnings:?}"
        );
        assert_eq!(plan("--targets echo").unwrap().2, [""; 0], "nothing is missing that was not asked for");
    }

    #[test]
    fn what_has_to_be_there_is_an_error_by_name() {
        for (words, why) in [
            ("--targets xblade --xblade /no/xblade", "/no/xblade: there is no such program"),
            ("--targets before", "name the build before with --before"),
            ("--targets vblade --vblade /no/vblade", "nothing left to measure"),
            (
                "--targets echo --target-cmd a=no-such-program",
                "the target a: there is no program `no-such-program`",
            ),
        ] {
            let said = plan(words).unwrap_err().to_string();
            assert!(said.contains(why), "{words}: {said}");
        }
    }

    /// The words of a command without those that select its core.
    fn words(options: &str, target: &Target, case: &Case) -> Vec<String> {
        let (plan, programs, _) = plan(&format!("--targets echo --xblade x {options}")).unwrap();
        let end = End { reach: vec![], interface: "i".to_owned() };
        let exports = case.addresses().into_iter().chain(case.idle_addresses());
        let exports = exports.map(|address| (address, PathBuf::from("/d/f"))).collect();
        let served = Served { exports, control: PathBuf::from("/d/c") };
        let command = programs.command(target, case, &plan, &end, &served);
        let words = command.get_args().skip(2).map(|word| word.to_string_lossy().into_owned());
        words.collect()
    }

    #[test]
    fn stores_are_passed_through_and_durability_is_the_case_s() {
        let (durable, volatile) = (case("write-durable:4096"), case("write-volatile:4096"));
        let export = ("0.1".to_owned(), PathBuf::from("/d/f"));
        let of = |store, case| xblade_export(store, case, &export, 7);
        assert_eq!(of(None, &volatile), "0.1=/d/f,durability=volatile");
        assert_eq!(of(None, &durable), "0.1=/d/f");
        assert_eq!(of(Some("direct"), &durable), "0.1=/d/f,store=direct");
        assert_eq!(of(Some("file"), &volatile), "0.1=/d/f,store=file,durability=volatile");
        assert_eq!(of(Some("null"), &volatile), "0.1=/d/f,store=null,length=7MiB");
    }

    #[test]
    fn it_advertises_as_many_in_flight_as_the_case_has_unless_told_otherwise() {
        let of = |options: &str, window: u16| {
            let case = Case { window, ..case("write-durable:4096") };
            words(options, &target("xblade"), &case).join(" ")
        };
        assert_eq!(
            of("", 200),
            "x serve 0.1=/d/f --control /d/c --state none --cores 1 --interface i --buffer-count 200"
        );
        assert!(of("", 1).ends_with("--buffer-count 64"));
        assert!(of("--xblade-option --buffer-count=7", 1).ends_with("--interface i --buffer-count=7"));
    }

    #[test]
    fn every_export_is_served_and_a_worker_spins_if_told() {
        let many = case("read:512:1:2+2");
        let words = |word| words("--before y", &target(word), &many).join(" ");
        let exports = "serve 0.1=/d/f,durability=volatile 0.2=/d/f,durability=volatile 1.1=/d/f,durability=volatile \
                       1.2=/d/f,durability=volatile --control /d/c";
        assert!(words("xblade").starts_with(&format!("x {exports}")), "{}", words("xblade"));
        assert!(words("before:spin").starts_with(&format!("y {exports}")), "{}", words("before:spin"));
        assert!(words("before:spin").ends_with("--idle spin") && !words("before").contains("spin"));
        assert!(words("echo").ends_with("--interface i --exports 2"), "{}", words("echo"));
        let fitting = ["echo", "xblade", "before", "vblade", "fio"].map(|word| target(word).fits(&many));
        assert_eq!(fitting, [true, true, true, false, true]);
    }

    #[test]
    fn times_from_arrival_to_reply_are_those_of_the_loaded_export() {
        let times = |count, p50| json!({ "count": count, "p50-ns": p50, "p99-ns": 20 * p50, "max-ns": 1 });
        let stats = |address: &str| {
            let response =
                json!({ "read": times(700, 5500), "write": times(300, 9000), "query": times(0, 1) });
            let idle = json!({ "address": "1.1", "response": { "read": times(9999, 1) } });
            json!({ "exports": [idle, { "address": address, "response": response }] }).to_string()
        };
        assert_eq!(inside(&stats("0.1")), Some(Inside { count: 700, p50_us: 5.5, p99_us: 110.0 }));
        for none in [&*stats("0.2"), "{}", "", "{\"exports\": [{\"address\": \"0.1\", \"response\": {}}]}"] {
            assert_eq!(inside(none), None, "{none}");
        }
    }

    #[test]
    fn places_are_filled_in_and_quotation_marks_keep_words_together() {
        let text = "other=serve --on {interface} 'a b' e{shelf}.{slot}={file} -m{mtu} ${HOME} {}";
        let words = words("", &Target::custom(text).unwrap(), &case("read:512"));
        assert_eq!(words, ["serve", "--on", "i", "a b", "e0.1=/d/f", "-m1500", "${HOME}", "{}"]);
    }

    #[test]
    fn its_log_tells_how_it_serves() {
        let log = "[T INFO ] 0.1: /d/f (direct), 16 sectors\n[T INFO ] v0: driver veth, MTU 1500, 1 queue\n\
                   [T INFO ] v0 queue 0: copy-mode rings, rx 512\n[T INFO ] ready: 1 export on v0\n";
        let told: Vec<String> = xblade_told(log).map(|condition| condition.value).collect();
        let expected = [
            "0.1: /d/f (direct), 16 sectors",
            "v0: driver veth, MTU 1500, 1 queue",
            "v0 queue 0: copy-mode rings, rx 512",
        ];
        assert_eq!(told, expected);
    }
}
