//! The plan: a profile with the changes of the command line.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::args::{CaseArgs, CompareArgs, Extra, Op};

use super::case::{Case, CaseSpec, Durability};
use super::profile::Profile;
use super::target::{Mode, Target};

/// The settings of a comparison.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the profile.
    pub profile: String,
    /// The targets, in the order within a round.
    pub targets: Vec<Target>,
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// Rounds per case.
    pub rounds: usize,
    /// Length of a measurement.
    pub seconds: f64,
    /// Warm-up before each measurement.
    pub warm_up: f64,
    /// Length of the intervals of the time series of latencies.
    pub interval: Option<f64>,
    /// The directory of the files.
    pub backing: PathBuf,
    /// The size of each file.
    pub mib: u64,
    /// Whether files are dropped from the page cache before each measurement.
    pub cold: bool,
    /// Core of the target.
    pub target_core: usize,
    /// Core of the generator.
    pub generator_core: usize,
    /// Options for the daemon.
    pub xblade_options: Vec<String>,
}

impl Plan {
    /// Reads the profile and applies the command line.
    pub fn new(args: &CompareArgs) -> Result<Self> {
        let profile = Profile::find(&args.profile)?;
        let options = args.xblade_option.iter().flat_map(|text| text.split_whitespace());
        let plan = Self {
            targets: targets(args, &profile)?,
            cases: cases(&args.cases, &profile)?,
            rounds: args.rounds.unwrap_or(profile.rounds),
            seconds: args.seconds.unwrap_or(profile.seconds),
            warm_up: args.warm_up.unwrap_or(profile.warm_up),
            interval: args.interval.or(profile.interval),
            backing: args.backing.clone().unwrap_or(profile.backing),
            mib: args.mib.unwrap_or(profile.mib),
            cold: args.cold.unwrap_or(profile.cold),
            target_core: args.target_core,
            generator_core: args.generator_core,
            xblade_options: options.map(str::to_owned).collect(),
            profile: profile.name,
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<()> {
        let wrong = [
            (self.rounds == 0, "--rounds 0: give 1 or more".to_owned()),
            (
                !is_time(self.seconds) || self.seconds == 0.0,
                format!("--seconds {}: give more than 0", self.seconds),
            ),
            (!is_time(self.warm_up), format!("--warm-up {}: give 0 or more", self.warm_up)),
            (
                self.interval.is_some_and(|s| !is_time(s) || s == 0.0),
                "--interval: give more than 0 seconds".to_owned(),
            ),
            (self.mib == 0, "--mib 0: give 1 or more".to_owned()),
            (!self.backing.is_dir(), format!("--backing {}: no such directory", self.backing.display())),
        ];
        match wrong.into_iter().find(|(applies, _)| *applies) {
            Some((_, text)) => bail!("{text}"),
            None => Ok(()),
        }
    }
}

/// Whether a number of seconds is valid; neither NaN nor infinity is.
fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds >= 0.0
}

fn targets(args: &CompareArgs, profile: &Profile) -> Result<Vec<Target>> {
    let mut all = if args.targets.is_empty() { profile.targets.clone() } else { args.targets.clone() };
    if args.null_store {
        let at = all.iter().position(|target| matches!(target, Target::Xblade(_))).unwrap_or(all.len());
        all.insert(at, Target::Xblade(Some("null".to_owned())));
    }
    all.extend(profile.target.iter().chain(&args.target_cmd).cloned().map(Target::Custom));
    let case = Case::default();
    let mut names: Vec<String> = all.iter().map(|target| target.name(&case)).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1] && !is_vblade(&pair[0])) {
        bail!("two targets are called '{}': give each a name of its own", twice[0]);
    }
    Ok(all)
}

/// Several variants may be equal in one case and differ in another.
fn is_vblade(name: &str) -> bool {
    name.starts_with(Mode::PROGRAM)
}

fn cases(args: &CaseArgs, profile: &Profile) -> Result<Vec<Case>> {
    let mut specs = if args.case.is_empty() { profile.case.clone() } else { named(args, profile) };
    for spec in &mut specs {
        change(args, spec);
    }
    let mut all = Vec::new();
    for spec in specs {
        all.extend(spec.cases()?);
    }
    if !args.also.is_empty() {
        for mtu in mtus(&all) {
            all.extend(args.also.iter().map(|extra| also(*extra, mtu, args)).collect::<Result<Vec<_>>>()?);
        }
    }
    let mut each: Vec<Case> = Vec::new();
    for case in all {
        if !each.contains(&case) {
            each.push(case);
        }
    }
    // Cases of one MTU are measured together.
    let order = mtus(&each);
    each.sort_by_key(|case| order.iter().position(|mtu| *mtu == case.mtu));
    Ok(each)
}

fn mtus(cases: &[Case]) -> Vec<usize> {
    let mut all: Vec<usize> = cases.iter().map(|case| case.mtu).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The cases of `--case`, at all MTUs of the profile unless `--mtu` is given.
fn named(args: &CaseArgs, profile: &Profile) -> Vec<CaseSpec> {
    let mut mtus: Vec<usize> = profile.case.iter().flat_map(|case| case.mtu.iter().copied()).collect();
    mtus.sort_unstable();
    mtus.dedup();
    let spec = |case: &super::CaseArg| {
        let spec = case.spec(&mtus);
        CaseSpec { window: args.window.filter(|_| !case.has_window()).unwrap_or(spec.window), ..spec }
    };
    args.case.iter().map(spec).collect()
}

/// Applies the options that hold for all cases.
fn change(args: &CaseArgs, spec: &mut CaseSpec) {
    if !args.mtu.is_empty() {
        spec.mtu.clone_from(&args.mtu);
    }
    if args.case.is_empty() {
        spec.window = args.window.unwrap_or(spec.window);
    }
    spec.op = args.op.unwrap_or(spec.op);
    spec.bytes = args.bytes.or(spec.bytes);
    spec.read_percent = args.read_percent.or(spec.read_percent);
    spec.durability = args.durability.or(spec.durability);
    if args.rate.is_some() || args.rate_of_knee.is_some() {
        (spec.rate, spec.rate_of_knee) = (args.rate, args.rate_of_knee);
    }
    spec.pattern = args.pattern.clone().or(spec.pattern.take());
    spec.verify = args.verify.unwrap_or(spec.verify);
}

/// A case of `--also`.
fn also(extra: Extra, mtu: usize, args: &CaseArgs) -> Result<Case> {
    let mut spec = CaseSpec::reads(&[mtu]);
    change(args, &mut spec);
    let write = |durability| (Op::Write, Some(durability));
    match extra {
        Extra::WriteVolatile => (spec.op, spec.durability) = write(Durability::Volatile),
        Extra::WriteDurable => (spec.op, spec.durability) = write(Durability::Durable),
        Extra::WindowOne => spec.window = 1,
    }
    spec.mtu = vec![mtu];
    let mut cases = spec.cases()?;
    Ok(cases.remove(0))
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
    fn named_cases_replace_the_profile_s_and_leave_out_mtus_that_are_too_small() {
        assert_eq!(
            names("--case write-durable:4096 --case read:1024:1 --window 32"),
            [
                "MTU 1500, random reads of 1 KiB, 1 in flight",
                "MTU 9000, random durable writes of 4 KiB, 32 in flight",
                "MTU 9000, random reads of 1 KiB, 1 in flight",
            ]
        );
        let said = plan("--case read:4096 --mtu 1500").unwrap_err().to_string();
        assert!(said.contains("4096 bytes"), "{said}");
    }

    #[test]
    fn cases_of_a_profile_are_as_large_as_the_mtu_allows() {
        assert_eq!(
            names("--also write-durable,window-one,write-volatile"),
            [
                "MTU 1500, random reads of 1 KiB, 64 in flight",
                "MTU 1500, random volatile writes of 1 KiB, 64 in flight",
                "MTU 1500, random durable writes of 1 KiB, 64 in flight",
                "MTU 1500, random reads of 1 KiB, 1 in flight",
                "MTU 9000, random reads of 8 KiB, 64 in flight",
                "MTU 9000, random volatile writes of 8 KiB, 64 in flight",
                "MTU 9000, random durable writes of 8 KiB, 64 in flight",
                "MTU 9000, random reads of 8 KiB, 1 in flight",
            ]
        );
    }

    #[test]
    fn every_value_of_a_case_can_be_changed() {
        let changed = "--profile quick --mtu 1500 --op mixed --bytes 512 --read-percent 10 --durability durable \
                       --window 5 --rate 100 --pattern sequential --verify";
        let name = "MTU 1500, sequential 10 % reads, 90 % durable writes of 0.5 KiB, 5 in flight, 100 a second, \
                    checked";
        assert_eq!(names(changed), [name]);
        assert!(
            names("--profile soak --verify=false --rate-of-knee 0.5")[0].ends_with("at 50 % of the knee")
        );
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
        ] {
            let said = plan(words).unwrap_err().to_string();
            assert!(said.contains(why), "{words}: {said}");
        }
    }
}
