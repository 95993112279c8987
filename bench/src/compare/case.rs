//! A case: the operation, its size, and the number in flight.

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
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

/// A case as it is written: in a profile, on the command line as a change of all cases,
/// or as OP:BYTES[:WINDOW]. What is not given is as usual.
#[derive(clap::Args, Clone, PartialEq, Deserialize, Debug, Default)]
#[command(next_help_heading = "Cases")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaseSpec {
    /// MTUs to measure at.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub mtu: Vec<usize>,
    /// Requests in flight.
    #[arg(long, value_name = "N")]
    pub window: Option<u16>,
    /// What is sent.
    #[arg(long, conflicts_with = "case")]
    pub op: Option<Op>,
    /// Bytes in a request.
    #[arg(long, value_name = "N", conflicts_with = "case")]
    pub bytes: Option<usize>,
    /// Of a mixed load, how much is reads.
    #[arg(long, value_name = "PERCENT")]
    pub read_percent: Option<u8>,
    /// When writes are acknowledged.
    #[arg(long, conflicts_with = "case")]
    pub durability: Option<Durability>,
    /// Requests a second, at times that do not depend on replies.
    #[arg(long, value_name = "N", conflicts_with = "rate_of_knee")]
    pub rate: Option<f64>,
    /// The same, as a share of what the slowest target can do, which is measured before.
    #[arg(long, value_name = "SHARE")]
    pub rate_of_knee: Option<f64>,
    /// How addresses follow each other, as for load.
    #[arg(long, value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Stamp what is written, and check what is read.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub verify: Option<bool>,
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
    /// Its values, and where it has none those of another.
    pub fn or(&self, other: Self) -> Self {
        let open = self.rate.is_some() || self.rate_of_knee.is_some();
        let (rate, rate_of_knee) = if open { (None, None) } else { (other.rate, other.rate_of_knee) };
        Self {
            mtu: if self.mtu.is_empty() { other.mtu } else { self.mtu.clone() },
            window: self.window.or(other.window),
            op: self.op.or(other.op),
            bytes: self.bytes.or(other.bytes),
            read_percent: self.read_percent.or(other.read_percent),
            durability: self.durability.or(other.durability),
            rate: self.rate.or(rate),
            rate_of_knee: self.rate_of_knee.or(rate_of_knee),
            pattern: self.pattern.clone().or(other.pattern),
            verify: self.verify.or(other.verify),
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
        let op = self.op.context("a case has no op: give read, write or mixed")?;
        let fit = sectors_that_fit(mtu);
        let sectors = match self.bytes {
            Some(bytes) => sectors(bytes)?,
            None => u8::try_from(fit).unwrap_or(u8::MAX).min(SECTORS_USUAL),
        };
        if sectors == 0 || usize::from(sectors) > fit {
            return Ok(None);
        }
        let window = self.window.unwrap_or(WINDOW_USUAL);
        if window == 0 {
            bail!("window = 0: give a number from 1");
        }
        let durability = match (op, self.durability) {
            (Op::Read, _) => Durability::Volatile,
            (_, Some(durability)) => durability,
            (op, None) => bail!("op = \"{}\": say durability = \"volatile\" or \"durable\"", word(op)),
        };
        let read_percent = self.read_percent.unwrap_or(50);
        if read_percent > 100 {
            bail!("read-percent = {read_percent}: give 0 to 100");
        }
        if let Some(pattern) = &self.pattern {
            let parsed = pattern.parse::<Pattern>().map_err(Error::msg);
            parsed.with_context(|| format!("pattern = \"{pattern}\""))?;
        }
        let (rate, pattern, verify) = (self.rate()?, self.pattern.clone(), self.verify.unwrap_or(false));
        Ok(Some(Case { mtu, op, read_percent, sectors, window, durability, rate, pattern, verify }))
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

impl FromStr for CaseSpec {
    type Err = Error;

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
        let window = |text: &str| {
            let window = text.parse().ok().filter(|n| *n > 0);
            window.with_context(|| format!("'{text}' in flight: give a number from 1"))
        };
        let window = words.next().map(window).transpose()?;
        if let Some(more) = words.next() {
            bail!("':{more}' is one too many: give OP:BYTES[:WINDOW]");
        }
        let (op, durability, bytes) = (Some(op), Some(durability), Some(bytes));
        Ok(Self { op, durability, bytes, window, ..Self::default() })
    }
}

const SIZES: &str = "give a multiple of 512, at most 130560";

fn sectors(bytes: usize) -> Result<u8> {
    let sectors = bytes.is_multiple_of(SECTOR).then_some(bytes / SECTOR);
    let sectors = sectors.and_then(|sectors| u8::try_from(sectors).ok()).filter(|n| *n > 0);
    sectors.with_context(|| format!("'{bytes}' bytes: {SIZES}"))
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
        let case: CaseSpec = "write-durable:4096:32".parse().unwrap();
        let (op, durability, window) = (Some(Op::Write), Some(Durability::Durable), Some(32));
        let usual = CaseSpec::default();
        assert_eq!(case, CaseSpec { op, durability, bytes: Some(4096), window, ..usual.clone() });
        let case: CaseSpec = "read:512".parse().unwrap();
        let (op, durability) = (Some(Op::Read), Some(Durability::Volatile));
        assert_eq!(case, CaseSpec { op, durability, bytes: Some(512), ..usual });
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
            let said = wrong.parse::<CaseSpec>().unwrap_err().to_string();
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
        let reads = CaseSpec { op: Some(Op::Read), mtu: vec![1500], ..CaseSpec::default() };
        let refused = |spec: CaseSpec| spec.cases().unwrap_err().to_string();
        assert!(refused(CaseSpec { op: Some(Op::Write), ..reads.clone() }).contains("durability"));
        assert!(
            refused(CaseSpec { bytes: Some(4096), ..reads.clone() })
                .contains("4096 bytes: that fits into no")
        );
        assert!(refused(CaseSpec { op: None, ..reads.clone() }).contains("no op"));
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
        assert!(refused(CaseSpec { window: Some(0), ..reads.clone() }).contains("from 1"));
        assert_eq!(reads.cases().unwrap()[0].sectors, 2);
    }
}
