//! The plan: a profile with the changes of the command line. A profile says what to
//! measure and how, in a TOML file. Those in `bench/profiles/` are compiled in, so that the
//! program needs no files.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use serde::{Deserialize, Deserializer};

use crate::args::CompareArgs;
use crate::load::Pattern;

use super::case::Case;
use super::target::Target;

/// The built-in profiles.
const BUILT_IN: [(&str, &str); 13] = [
    ("quick", include_str!("../../profiles/quick.toml")),
    ("latency", include_str!("../../profiles/latency.toml")),
    ("throughput", include_str!("../../profiles/throughput.toml")),
    ("mixed", include_str!("../../profiles/mixed.toml")),
    ("jumbo", include_str!("../../profiles/jumbo.toml")),
    ("boot-storm", include_str!("../../profiles/boot-storm.toml")),
    ("durable-writes", include_str!("../../profiles/durable-writes.toml")),
    ("many-exports", include_str!("../../profiles/many-exports.toml")),
    ("many-exports-disk", include_str!("../../profiles/many-exports-disk.toml")),
    ("before", include_str!("../../profiles/before.toml")),
    ("soak", include_str!("../../profiles/soak.toml")),
    ("table-memory", include_str!("../../profiles/table-memory.toml")),
    ("table-disk", include_str!("../../profiles/table-disk.toml")),
];

/// The settings of a comparison; without [`Plan::new`], those of a profile.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// The name of the profile.
    #[serde(skip)]
    pub profile: String,
    /// Its purpose, in one line.
    about: String,
    /// The targets, in the order within a round; in a profile as in `--targets`.
    #[serde(deserialize_with = "parsed")]
    pub targets: Vec<Target>,
    /// Number of rounds; each measures every target once.
    pub rounds: usize,
    /// Length of a measurement.
    pub seconds: f64,
    /// Warm-up before each measurement.
    #[serde(default)]
    pub warm_up: f64,
    /// Length of the intervals of the time series of latencies.
    pub interval: Option<f64>,
    /// The directory of the files.
    pub backing: PathBuf,
    /// The size of each file.
    pub mib: u64,
    /// Whether files are dropped from the page cache before each measurement.
    #[serde(default)]
    pub cold: bool,
    /// The cases to measure, in order; in a profile as in `--case`.
    #[serde(rename = "case", deserialize_with = "parsed")]
    pub cases: Vec<Case>,
    /// Of mixed loads, the percentage of reads.
    read_percent: Option<u8>,
    /// The address pattern.
    pattern: Option<Pattern>,
    /// Whether writes are stamped and reads checked.
    #[serde(default)]
    verify: bool,
    /// Core of the target.
    #[serde(skip)]
    pub target_core: usize,
    /// Core of the generator.
    #[serde(skip)]
    pub generator_core: usize,
    /// The same, if the generator runs on this host.
    #[serde(skip)]
    pub generator_here: Option<usize>,
    /// Options for the daemon.
    #[serde(skip)]
    pub xblade_options: Vec<String>,
}

fn parsed<'de, T: FromStr<Err = Error>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

impl Plan {
    /// Reads the profile and applies the command line.
    pub fn new(args: &CompareArgs) -> Result<Self> {
        let profile = Self::find(&args.profile)?;
        let targets = if args.targets.is_empty() { &profile.targets } else { &args.targets };
        let cases = if args.case.is_empty() { &profile.cases } else { &args.case };
        let read_percent = args.read_percent.or(profile.read_percent).unwrap_or(50);
        let verify = args.verify.unwrap_or(profile.verify);
        let with_all = |case: &Case| Case {
            mtu: args.mtu.unwrap_or(case.mtu),
            window: args.window.unwrap_or(case.window),
            rate: args.rate,
            read_percent,
            pattern: args.pattern.or(profile.pattern).unwrap_or(case.pattern),
            verify,
            ..*case
        };
        let plan = Self {
            targets: targets.iter().chain(&args.target_cmd).cloned().collect(),
            cases: cases.iter().map(with_all).collect(),
            rounds: args.rounds.unwrap_or(profile.rounds),
            seconds: args.seconds.unwrap_or(profile.seconds),
            warm_up: args.warm_up.unwrap_or(profile.warm_up),
            interval: args.interval.or(profile.interval),
            backing: args.backing.clone().unwrap_or(profile.backing),
            mib: args.mib.unwrap_or(profile.mib),
            cold: args.cold.unwrap_or(profile.cold),
            target_core: args.target_core,
            generator_core: args.generator_core,
            generator_here: args.hosts.is_none().then_some(args.generator_core),
            xblade_options: args.xblade_option.join(" ").split_whitespace().map(str::to_owned).collect(),
            ..profile
        };
        plan.check()?;
        Ok(plan)
    }

    /// Finds a built-in profile, or else reads a file.
    pub fn find(name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::read(name, text);
        }
        let path = Path::new(name);
        let known = BUILT_IN.map(|(name, _)| name).join(", ");
        ensure!(
            path.exists(),
            "--profile {name}: there is no such profile, and no such file; there are {known}"
        );
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the profile {name}"))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(&stem, &text).with_context(|| format!("the profile {name}"))
    }

    /// Lists the built-in profiles, one per line.
    pub fn list() -> Result<String> {
        let line =
            |(name, text): &(&str, &str)| Ok(format!("{name:<18} {}\n", Self::read(name, text)?.about));
        BUILT_IN.iter().map(line).collect()
    }

    fn read(name: &str, text: &str) -> Result<Self> {
        Ok(Self { profile: name.to_owned(), ..toml::from_str(text)? })
    }

    fn check(&self) -> Result<()> {
        let time = |seconds: f64| seconds.is_finite() && seconds > 0.0;
        let (warm_up, backing) = (self.warm_up, self.backing.display());
        ensure!(self.rounds > 0, "--rounds 0: give 1 or more");
        ensure!(time(self.seconds), "--seconds {}: give more than 0", self.seconds);
        ensure!(warm_up == 0.0 || time(warm_up), "--warm-up {warm_up}: give 0 or more");
        ensure!(self.interval.is_none_or(time), "--interval: give more than 0 seconds");
        ensure!(self.mib > 0, "--mib 0: give 1 or more");
        ensure!(self.backing.is_dir(), "--backing {backing}: no such directory");
        for case in &self.cases {
            case.check()?;
            let mut names: Vec<String> = self.targets.iter().map(|target| target.name(case)).collect();
            names.sort();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                bail!("two targets are called '{}': give each a name of its own", pair[0]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Args, Command};

    use super::*;

    fn plan(words: &str) -> Result<Plan> {
        let words =
            ["xblade-bench", "compare", "--backing", "/tmp"].into_iter().chain(words.split_whitespace());
        match Args::try_parse_from(words)?.command {
            Command::Compare(args) => Plan::new(&args),
            _ => bail!("another command"),
        }
    }

    fn names(words: &str) -> Vec<String> {
        plan(words).unwrap().cases.iter().map(Case::name).collect()
    }

    #[test]
    fn named_cases_replace_the_profile_s() {
        assert_eq!(
            names("--case write-durable:4096 --case read:1024:1"),
            [
                "MTU 9000, random durable writes of 4 KiB, 64 in flight",
                "MTU 1500, random reads of 1 KiB, 1 in flight",
            ]
        );
        let said = plan("--case read:4096 --mtu 1500").unwrap_err().to_string();
        assert!(said.contains("4096 bytes"), "{said}");
    }

    #[test]
    fn every_value_of_a_case_can_be_changed() {
        let changed = "--profile quick --case mixed-durable:512 --mtu 9000 --read-percent 10 --window 5 --rate 100 \
                       --pattern sequential --verify";
        let name = "MTU 9000, sequential 10 % reads, 90 % durable writes of 0.5 KiB, 5 in flight, 100 a second, \
                    checked";
        assert_eq!(names(changed), [name]);
        let soak = "MTU 9000, random 70 % reads, 30 % durable writes of 4 KiB, 64 in flight";
        assert_eq!(names("--profile soak --verify=false"), [soak]);
    }

    #[test]
    fn every_value_of_a_profile_can_be_changed() {
        let plan = plan(
            "--profile durable-writes --rounds 2 --seconds 0.5 --warm-up 0 --interval 0.1 --mib 3 --cold=false",
        );
        let plan = plan.unwrap();
        assert_eq!((plan.rounds, plan.seconds, plan.warm_up, plan.interval), (2, 0.5, 0.0, Some(0.1)));
        assert_eq!((plan.mib, plan.cold, plan.backing.to_str().unwrap()), (3, false, "/tmp"));
        assert_eq!(plan.profile, "durable-writes");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (words, why) in [
            ("--rounds 0", "--rounds 0"),
            ("--seconds 0", "--seconds 0"),
            ("--seconds NaN", "--seconds NaN"),
            ("--warm-up=-1", "--warm-up -1"),
            ("--interval 0", "--interval"),
            ("--mib 0", "--mib 0"),
            ("--targets echo,echo", "called 'echo'"),
            ("--targets echo --target-cmd echo=x", "called 'echo'"),
            ("--window 0", "--window"),
            ("--read-percent 101", "--read-percent 101"),
            ("--rate 0", "--rate 0"),
            ("--pattern spiral", "--pattern"),
        ] {
            let said = format!("{:#}", plan(words).unwrap_err());
            assert!(said.contains(why), "{words}: {said}");
        }
    }
}

#[cfg(test)]
mod profile_tests {
    use super::*;

    const LEAST: &str =
        "about = 'x'\ntargets = ['echo']\nrounds = 1\nseconds = 1\nbacking = '/tmp'\nmib = 1\n";

    #[test]
    fn all_that_are_compiled_in_can_be_read_and_measured() {
        for (name, text) in BUILT_IN {
            let profile = Plan::read(name, text).unwrap();
            assert_eq!(profile.profile, name);
            assert!(profile.about.len() > 10 && profile.rounds > 0 && profile.seconds > 0.0, "{name}");
            assert!(!profile.cases.is_empty(), "{name}");
        }
        assert_eq!(Plan::list().unwrap().lines().count(), BUILT_IN.len());
    }

    #[test]
    fn a_wrong_profile_is_refused_with_the_line_and_the_word() {
        let refused = |more: &str| {
            let said = Plan::read("x", &format!("{LEAST}{more}")).unwrap_err();
            format!("{said:#}")
        };
        let said = refused("round = 2\ncase = ['read:512']\n");
        assert!(said.contains("line 7") && said.contains("unknown field `round`"), "{said}");
        let said = refused("case = ['erase:512']\n");
        assert!(said.contains("erase:512") && said.contains("write-volatile"), "{said}");
        let said = refused("");
        assert!(said.contains("missing field `case`"), "{said}");
        let text = LEAST.replace("echo", "ublade");
        let said = Plan::read("x", &text).unwrap_err().to_string();
        assert!(said.contains("'ublade' is no target"), "{said}");
    }

    #[test]
    fn a_profile_is_found_by_its_name_or_in_a_file() {
        assert_eq!(Plan::find("latency").unwrap().profile, "latency");
        let said = Plan::find("speed").unwrap_err().to_string();
        assert!(said.contains("--profile speed") && said.contains("quick, latency, throughput"), "{said}");
        let path = std::env::temp_dir().join(format!("xbb-profile-{}.toml", std::process::id()));
        std::fs::write(&path, format!("{LEAST}case = ['read:512']\n")).unwrap();
        let profile = Plan::find(path.to_str().unwrap());
        std::fs::write(&path, "no").unwrap();
        let wrong = Plan::find(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(profile.unwrap().profile, format!("xbb-profile-{}", std::process::id()));
        let said = format!("{:#}", wrong.unwrap_err());
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}
