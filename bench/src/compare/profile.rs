//! Profiles: what to measure and how, each in a TOML file. Those in `bench/profiles/` are
//! compiled in, so that the program needs no files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::case::CaseSpec;
use super::target::{CustomTarget, Target};

/// The built-in profiles.
const BUILT_IN: [(&str, &str); 10] = [
    ("quick", include_str!("../../profiles/quick.toml")),
    ("latency", include_str!("../../profiles/latency.toml")),
    ("throughput", include_str!("../../profiles/throughput.toml")),
    ("mixed", include_str!("../../profiles/mixed.toml")),
    ("jumbo", include_str!("../../profiles/jumbo.toml")),
    ("boot-storm", include_str!("../../profiles/boot-storm.toml")),
    ("durable-writes", include_str!("../../profiles/durable-writes.toml")),
    ("soak", include_str!("../../profiles/soak.toml")),
    ("table-memory", include_str!("../../profiles/table-memory.toml")),
    ("table-disk", include_str!("../../profiles/table-disk.toml")),
];

/// A profile.
#[derive(Clone, PartialEq, Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Its purpose, in one line.
    pub about: String,
    /// As in `--targets`.
    #[serde(deserialize_with = "parsed")]
    pub targets: Vec<Target>,
    /// Custom targets.
    #[serde(default)]
    pub target: Vec<CustomTarget>,
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
    /// The cases to measure.
    pub case: Vec<CaseSpec>,
}

fn parsed<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Target>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

impl Profile {
    /// Finds a built-in profile, or else reads a file.
    pub fn find(name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::read(name, text);
        }
        let path = Path::new(name);
        if !path.exists() {
            let known = BUILT_IN.map(|(name, _)| name).join(", ");
            bail!("--profile {name}: there is no such profile, and no such file; there are {known}");
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the profile {name}"))?;
        let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
        Self::read(&stem, &text).with_context(|| format!("the profile {name}"))
    }

    /// Lists the built-in profiles, one per line.
    pub fn list() -> Result<String> {
        let line =
            |(name, text): &(&str, &str)| Ok(format!("{name:<15} {}\n", Self::read(name, text)?.about));
        BUILT_IN.iter().map(line).collect()
    }

    fn read(name: &str, text: &str) -> Result<Self> {
        let profile: Self = toml::from_str(text)?;
        Ok(Self { name: name.to_owned(), ..profile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str =
        "about = 'x'\ntargets = ['echo']\nrounds = 1\nseconds = 1\nbacking = '/tmp'\nmib = 1\n";

    #[test]
    fn all_that_are_compiled_in_can_be_read_and_measured() {
        for (name, text) in BUILT_IN {
            let profile = Profile::read(name, text).unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.about.len() > 10 && profile.rounds > 0 && profile.seconds > 0.0, "{name}");
            assert!(
                !profile.case.is_empty() && profile.case.iter().all(|case| case.cases().is_ok()),
                "{name}"
            );
        }
        assert_eq!(Profile::list().unwrap().lines().count(), BUILT_IN.len());
    }

    #[test]
    fn a_wrong_profile_is_refused_with_the_line_and_the_word() {
        let refused = |more: &str| {
            let said = Profile::read("x", &format!("{LEAST}{more}")).unwrap_err();
            format!("{said:#}")
        };
        let said = refused("round = 2\n[[case]]\nop = 'read'\nmtu = [1500]\n");
        assert!(said.contains("line 7") && said.contains("unknown field `round`"), "{said}");
        let said = refused("[[case]]\nop = 'read'\nmtu = [1500]\nsize = 7\n");
        assert!(said.contains("unknown field `size`"), "{said}");
        let said = refused("[[case]]\nop = 'erase'\nmtu = [1500]\n");
        assert!(said.contains("erase") && said.contains("read, write, mixed"), "{said}");
        let said = refused("");
        assert!(said.contains("missing field `case`"), "{said}");
        let text = LEAST.replace("echo", "ublade");
        let said = Profile::read("x", &text).unwrap_err().to_string();
        assert!(said.contains("'ublade' is no target"), "{said}");
    }

    #[test]
    fn a_profile_is_found_by_its_name_or_in_a_file() {
        assert_eq!(Profile::find("latency").unwrap().name, "latency");
        let said = Profile::find("speed").unwrap_err().to_string();
        assert!(said.contains("--profile speed") && said.contains("quick, latency, throughput"), "{said}");
        let path = std::env::temp_dir().join(format!("xbb-profile-{}.toml", std::process::id()));
        let text = "[[case]]\nop = 'read'\nmtu = [1500]\n[[target]]\nname = 'a'\ncommand = 'a {file}'\n";
        std::fs::write(&path, format!("{LEAST}{text}")).unwrap();
        let profile = Profile::find(path.to_str().unwrap());
        std::fs::write(&path, "no").unwrap();
        let wrong = Profile::find(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        let profile = profile.unwrap();
        assert_eq!(profile.name, format!("xbb-profile-{}", std::process::id()));
        assert_eq!(profile.target[0].name, "a");
        let said = format!("{:#}", wrong.unwrap_err());
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}
