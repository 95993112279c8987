//! A case: the operation, its size, and the number in flight.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use crate::aoe::{DATA_AT, SECTOR};
use crate::args::Op;
use crate::load::Pattern;

/// Maximum number of sectors in a request, unless the case sets it: 8 KiB.
const SECTORS_USUAL: u8 = 16;
/// Requests in flight, unless the case sets it: as in Linux.
const WINDOW_USUAL: u16 = 64;

/// When a write is acknowledged.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When the kernel has it.
    #[default]
    Volatile,
    /// When stable storage has it.
    Durable,
}

/// The rate of an open loop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rate {
    /// Requests per second.
    Fixed(f64),
    /// A fraction of what the slowest target can do.
    OfKnee(f64),
}

/// A set of conditions under which every target is measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// MTU of the pair.
    pub mtu: usize,
    /// Reads or writes.
    pub op: Op,
    /// Of a mixed load, the percentage of reads.
    pub read_percent: u8,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight.
    pub window: u16,
    /// When writes are acknowledged.
    pub durability: Durability,
    /// The rate of an open loop; `None` for a closed one.
    pub rate: Option<Rate>,
    /// The address pattern, as for the generator; random if `None`.
    pub pattern: Option<String>,
    /// Whether writes are stamped and reads checked.
    pub verify: bool,
}

/// A case of `--case`: OP:BYTES[:WINDOW].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaseArg {
    op: Op,
    durability: Durability,
    bytes: usize,
    window: Option<u16>,
}

/// A case of a profile, which may apply to several MTUs.
#[derive(Clone, PartialEq, Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaseSpec {
    /// read, write or mixed.
    #[serde(deserialize_with = "op")]
    pub op: Op,
    /// Of a mixed load, the percentage of reads; half if `None`.
    pub read_percent: Option<u8>,
    /// Bytes in a request; if `None`, as many as the MTU allows, at most 8 KiB.
    pub bytes: Option<usize>,
    /// Requests in flight.
    #[serde(default = "window_usual")]
    pub window: u16,
    /// MTUs of the pair.
    pub mtu: Vec<usize>,
    /// For all writes.
    pub durability: Option<Durability>,
    /// Requests per second.
    pub rate: Option<f64>,
    /// The rate as a fraction of what the slowest target can do.
    pub rate_of_knee: Option<f64>,
    /// The address pattern, as for load.
    pub pattern: Option<String>,
    /// Whether to check the data.
    #[serde(default)]
    pub verify: bool,
}

fn op<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Op, D::Error> {
    let word = String::deserialize(from)?;
    let known = || Op::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<String> = known().map(|value| value.get_name().to_owned()).collect();
    Op::from_str(&word, false)
        .map_err(|_| serde::de::Error::custom(format!("op = \"{word}\": give {}", names.join(", "))))
}

fn window_usual() -> u16 {
    WINDOW_USUAL
}

impl Default for Case {
    fn default() -> Self {
        Self {
            mtu: 9000,
            op: Op::Read,
            read_percent: 50,
            sectors: 8,
            window: WINDOW_USUAL,
            durability: Durability::Volatile,
            rate: None,
            pattern: None,
            verify: false,
        }
    }
}

impl CaseSpec {
    /// Random reads of the largest size.
    pub fn reads(mtu: &[usize]) -> Self {
        Self {
            op: Op::Read,
            read_percent: None,
            bytes: None,
            window: WINDOW_USUAL,
            mtu: mtu.to_vec(),
            durability: None,
            rate: None,
            rate_of_knee: None,
            pattern: None,
            verify: false,
        }
    }

    /// The case at each MTU that it fits; an error if there is none.
    pub fn cases(&self) -> Result<Vec<Case>> {
        let fitting = self.mtu.iter().filter_map(|mtu| self.at(*mtu).transpose());
        let all = fitting.collect::<Result<Vec<Case>>>()?;
        if all.is_empty() {
            let bytes = self.bytes.unwrap_or(SECTOR);
            bail!("a case of {bytes} bytes: that fits into no --mtu ({:?})", self.mtu);
        }
        Ok(all)
    }

    fn at(&self, mtu: usize) -> Result<Option<Case>> {
        let fit = sectors_that_fit(mtu);
        let sectors = match self.bytes {
            Some(bytes) => sectors(bytes)?,
            None => u8::try_from(fit).unwrap_or(u8::MAX).min(SECTORS_USUAL),
        };
        if sectors == 0 || usize::from(sectors) > fit {
            return Ok(None);
        }
        if self.window == 0 {
            bail!("window = 0: give a number from 1");
        }
        let durability = match (self.op, self.durability) {
            (Op::Read, _) => Durability::Volatile,
            (_, Some(durability)) => durability,
            (op, None) => bail!("op = \"{}\": say durability = \"volatile\" or \"durable\"", word(op)),
        };
        Ok(Some(Case {
            mtu,
            op: self.op,
            read_percent: percent(self.read_percent.unwrap_or(50))?,
            sectors,
            window: self.window,
            durability,
            rate: self.rate()?,
            pattern: self.pattern()?,
            verify: self.verify,
        }))
    }

    fn pattern(&self) -> Result<Option<String>> {
        let Some(pattern) = &self.pattern else { return Ok(None) };
        pattern
            .parse::<Pattern>()
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("pattern = \"{pattern}\""))?;
        Ok(Some(pattern.clone()))
    }

    fn rate(&self) -> Result<Option<Rate>> {
        match (self.rate, self.rate_of_knee) {
            (Some(_), Some(_)) => bail!("rate and rate-of-knee: give one of them"),
            (Some(rate), _) if rate > 0.0 => Ok(Some(Rate::Fixed(rate))),
            (_, Some(share)) if share > 0.0 && share <= 1.5 => Ok(Some(Rate::OfKnee(share))),
            (None, None) => Ok(None),
            (Some(rate), _) => bail!("rate = {rate}: give requests a second, more than 0"),
            (_, Some(share)) => bail!("rate-of-knee = {share}: give a share, for example 0.7"),
        }
    }
}

fn percent(percent: u8) -> Result<u8> {
    if percent > 100 {
        bail!("read-percent = {percent}: give 0 to 100");
    }
    Ok(percent)
}

/// The generator's name for an operation.
pub fn word(op: Op) -> String {
    op.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Case {
    /// Whether writes must be on stable storage before they are acknowledged.
    pub fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    /// Bytes in a request.
    pub fn bytes(&self) -> usize {
        usize::from(self.sectors) * SECTOR
    }

    /// The buffer count that a target must advertise.
    pub fn buffer_count(&self) -> u16 {
        self.window.max(WINDOW_USUAL)
    }

    /// Whether addresses are uniformly random.
    pub fn is_random(&self) -> bool {
        self.pattern.as_deref().is_none_or(|pattern| pattern == "random")
    }

    /// Its heading.
    pub fn name(&self) -> String {
        let kib = self.bytes() as f64 / 1024.0;
        let writes = if self.is_durable() { "durable writes" } else { "volatile writes" };
        let op = match self.op {
            Op::Read => "reads".to_owned(),
            Op::Write => writes.to_owned(),
            Op::Mixed => format!("{} % reads, {} % {writes}", self.read_percent, 100 - self.read_percent),
        };
        let pattern = self.pattern.as_deref().unwrap_or("random");
        let mut name = format!("MTU {}, {pattern} {op} of {kib} KiB, {} in flight", self.mtu, self.window);
        match self.rate {
            Some(Rate::Fixed(rate)) => name += &format!(", {rate} a second"),
            Some(Rate::OfKnee(share)) => name += &format!(", at {:.0} % of the knee", share * 100.0),
            None => {}
        }
        if self.verify { name + ", checked" } else { name }
    }
}

impl CaseArg {
    /// Converts it to a case of a profile, at these MTUs.
    pub fn spec(self, mtu: &[usize]) -> CaseSpec {
        CaseSpec {
            op: self.op,
            bytes: Some(self.bytes),
            window: self.window.unwrap_or(WINDOW_USUAL),
            durability: Some(self.durability),
            ..CaseSpec::reads(mtu)
        }
    }

    /// Whether it sets the number of requests in flight.
    pub fn has_window(self) -> bool {
        self.window.is_some()
    }
}

impl FromStr for CaseArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split(':');
        let (op, durability) = match words.next() {
            Some("read") => (Op::Read, Durability::Volatile),
            Some("write-volatile") => (Op::Write, Durability::Volatile),
            Some("write-durable") => (Op::Write, Durability::Durable),
            _ => bail!("the operation is read, write-volatile or write-durable"),
        };
        let bytes = words.next().context("give OP:BYTES, for example read:4096")?;
        let bytes = bytes.parse().ok().with_context(|| format!("'{bytes}' bytes: {SIZES}"))?;
        sectors(bytes)?;
        let window = words.next().map(window).transpose()?;
        match words.next() {
            Some(more) => bail!("':{more}' is one too many: give OP:BYTES[:WINDOW]"),
            None => Ok(Self { op, durability, bytes, window }),
        }
    }
}

const SIZES: &str = "give a multiple of 512, at most 130560";

fn sectors(bytes: usize) -> Result<u8> {
    let sectors = bytes.is_multiple_of(SECTOR).then_some(bytes / SECTOR);
    let sectors = sectors.and_then(|sectors| u8::try_from(sectors).ok()).filter(|n| *n > 0);
    sectors.with_context(|| format!("'{bytes}' bytes: {SIZES}"))
}

fn window(text: &str) -> Result<u16> {
    let window = text.parse().ok().filter(|n| *n > 0);
    window.with_context(|| format!("'{text}' in flight: give a number from 1"))
}

/// The MTU does not include the Ethernet header.
fn sectors_that_fit(mtu: usize) -> usize {
    (mtu + 14).saturating_sub(DATA_AT) / SECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read() {
        let case: CaseArg = "write-durable:4096:32".parse().unwrap();
        let (op, durability) = (Op::Write, Durability::Durable);
        assert_eq!(case, CaseArg { op, durability, bytes: 4096, window: Some(32) });
        let case: CaseArg = "read:512".parse().unwrap();
        let (op, durability) = (Op::Read, Durability::Volatile);
        assert_eq!(case, CaseArg { op, durability, bytes: 512, window: None });
        for (wrong, why) in [
            ("write:4096", "write-volatile"),
            ("read", "give OP:BYTES"),
            ("read:0", "multiple of 512"),
            ("read:4095", "multiple of 512"),
            ("read:x", "multiple of 512"),
            ("read:131072", "at most 130560"),
            ("read:4096:0", "from 1"),
            ("read:4096:1:2", "one too many"),
        ] {
            let said = wrong.parse::<CaseArg>().unwrap_err().to_string();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_name_tells_what_is_special() {
        let usual = Case::default();
        assert_eq!(usual.name(), "MTU 9000, random reads of 4 KiB, 64 in flight");
        let (op, durability, read_percent) = (Op::Mixed, Durability::Durable, 70);
        let mixed = Case { op, durability, read_percent, ..usual.clone() };
        assert_eq!(mixed.name(), "MTU 9000, random 70 % reads, 30 % durable writes of 4 KiB, 64 in flight");
        let (pattern, rate) = (Some("sequential".to_owned()), Some(Rate::Fixed(5000.0)));
        let open = Case { pattern, rate, verify: true, ..usual.clone() };
        let name = "MTU 9000, sequential reads of 4 KiB, 64 in flight, 5000 a second, checked";
        assert_eq!(open.name(), name);
        let knee = Case { rate: Some(Rate::OfKnee(0.7)), ..usual };
        assert!(knee.name().ends_with("64 in flight, at 70 % of the knee"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let reads = CaseSpec::reads(&[1500]);
        let refused = |spec: CaseSpec| spec.cases().unwrap_err().to_string();
        assert!(refused(CaseSpec { op: Op::Write, ..reads.clone() }).contains("durability"));
        assert!(
            refused(CaseSpec { bytes: Some(4096), ..reads.clone() })
                .contains("4096 bytes: that fits into no")
        );
        assert!(refused(CaseSpec { bytes: Some(100), ..reads.clone() }).contains("multiple of 512"));
        assert!(refused(CaseSpec { read_percent: Some(101), ..reads.clone() }).contains("0 to 100"));
        assert!(refused(CaseSpec { rate: Some(0.0), ..reads.clone() }).contains("more than 0"));
        assert!(refused(CaseSpec { rate_of_knee: Some(7.0), ..reads.clone() }).contains("a share"));
        assert!(
            refused(CaseSpec { rate: Some(1.0), rate_of_knee: Some(0.5), ..reads.clone() })
                .contains("one of")
        );
        let pattern = Some("spiral".to_owned());
        assert!(refused(CaseSpec { pattern, ..reads.clone() }).contains("pattern = \"spiral\""));
        assert!(refused(CaseSpec { window: 0, ..reads.clone() }).contains("from 1"));
        assert_eq!(reads.cases().unwrap()[0].sectors, 2);
    }
}
