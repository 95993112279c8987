//! The text format for what initiators have set.
//!
//! ```text
//! xblade-state 1 5d41402abc4b2a76b9719d911017c592
//! {"export":"0.1","path":"/dev/vg/data","offset":0,"identity":{"kind":"device","dm":"LVM-…"},"config":"68656c6c6f","mask":[],"reservation":[]}
//! ```
//!
//! The number in the first line is the version, followed by the XXH3 hash (128 bits) of
//! everything after that line. Releases before identities existed wrote no `identity`,
//! and leave files that have one alone.
//!
//! A record of the data that hosts used at an address (`xblade-used`) has the same form,
//! without the last three fields.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::host_setting::HostSetting;
use super::mac_list::ListFull;
use super::state::State;
use crate::store::{Data, Identity};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

const MAGIC: &str = "xblade-state";
const USED: &str = "xblade-used";
const VERSION: &str = "1";

/// The part of an export's state that survives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// The reservation.
    pub reservation: Vec<Mac>,
}

/// The export that a state belongs to; no other export gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Belongs {
    /// Address of the export.
    pub address: Address,
    /// The file or device, as given in the configuration.
    pub path: String,
    /// The identity of the data, and the byte offset in it at which the export begins.
    pub data: Data,
}

/// [`Belongs`], as a file has it.
#[derive(Serialize, Deserialize)]
struct Record {
    export: String,
    path: String,
    offset: u64,
    #[serde(default)]
    identity: BTreeMap<String, String>,
}

/// [`Belongs`] and [`Saved`], as a file has them.
#[derive(Serialize, Deserialize)]
struct StateFile {
    #[serde(flatten)]
    of: Record,
    config: String,
    mask: Vec<String>,
    reservation: Vec<String>,
}

impl Belongs {
    /// As one text, to accompany an export.
    pub fn to_text(&self) -> String {
        seal(USED, &self.record())
    }

    /// Parses the result of [`Self::to_text`].
    ///
    /// # Errors
    ///
    /// Any deviation from the format; nothing is guessed.
    pub fn parse(text: &str) -> Result<Self, SavedError> {
        Self::of(unseal(USED, text)?).ok_or(SavedError::Shape)
    }

    fn record(&self) -> Record {
        let identity = self.data.identity.lasting();
        Record {
            export: self.address.to_string(),
            path: self.path.clone(),
            offset: self.data.offset_bytes,
            identity: identity.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        }
    }

    fn of(record: Record) -> Option<Self> {
        let identity = Identity::from_facts(record.identity);
        let data = Data { identity, offset_bytes: record.offset };
        Some(Self { address: record.export.parse().ok()?, path: record.path, data })
    }
}

/// Why a text is not a valid state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SavedError {
    /// Not written by xblade.
    #[error("it does not begin with '{0}'")]
    Foreign(&'static str),
    /// Written by a later release.
    #[error("it has version {0}, but this xblade supports version {VERSION}")]
    Version(String),
    /// The content was changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, but the content is invalid.
    #[error("its content is invalid")]
    Shape,
}

impl Saved {
    /// The part of `state` that is saved.
    pub fn of(state: &State) -> Self {
        Self {
            config: state.config().to_vec(),
            mask: state.mask().to_vec(),
            reservation: state.reservation().to_vec(),
        }
    }

    /// Whether it has the value that is in force.
    pub fn agrees(&self, setting: HostSetting, state: &State) -> bool {
        match setting {
            HostSetting::Config => self.config == state.config(),
            HostSetting::Mask => self.mask == state.mask(),
            HostSetting::Reservation => self.reservation == state.reservation(),
        }
    }

    /// Takes over the value that is in force. Returns whether it is another one.
    pub fn adopt(&mut self, setting: HostSetting, state: &State) -> bool {
        if self.agrees(setting, state) {
            return false;
        }
        match setting {
            HostSetting::Config => self.config = state.config().to_vec(),
            HostSetting::Mask => self.mask = state.mask().to_vec(),
            HostSetting::Reservation => self.reservation = state.reservation().to_vec(),
        }
        true
    }

    /// The content of a state file.
    pub fn to_text(&self, of: &Belongs) -> String {
        let macs = |macs: &[Mac]| macs.iter().map(Mac::to_string).collect();
        let file = StateFile {
            of: of.record(),
            config: hex::encode(&self.config),
            mask: macs(&self.mask),
            reservation: macs(&self.reservation),
        };
        seal(MAGIC, &file)
    }

    /// Parses the content of a state file; also returns the export that it belongs to.
    ///
    /// # Errors
    ///
    /// Any deviation from the format; nothing is guessed.
    pub fn parse(text: &str) -> Result<(Belongs, Self), SavedError> {
        let file: StateFile = unseal(MAGIC, text)?;
        let macs = |list: &[String]| list.iter().map(|mac| mac.parse().ok()).collect::<Option<Vec<Mac>>>();
        let read = || {
            let (mask, reservation) = (macs(&file.mask)?, macs(&file.reservation)?);
            let saved = Self { config: hex::decode(&file.config).ok()?, mask, reservation };
            Some((Belongs::of(file.of)?, saved))
        };
        read().ok_or(SavedError::Shape)
    }

    /// Applies the saved values to `state`.
    ///
    /// # Errors
    ///
    /// A list is longer than its capacity.
    pub fn restore(&self, state: &mut State) -> Result<(), ListFull> {
        state.set_config(&self.config)?;
        for mac in &self.mask {
            state.add_to_mask(*mac)?;
        }
        state.set_reservation(self.reservation.iter().copied())
    }
}

/// The content of a file with these fields.
fn seal(magic: &str, fields: &impl Serialize) -> String {
    // Strings and numbers always serialize. A `Value` has its keys in alphabetical order.
    let body = format!("{}\n", serde_json::to_value(fields).unwrap_or_default());
    format!("{magic} {VERSION} {:032x}\n{body}", XxHash3_128::oneshot(body.as_bytes()))
}

/// Checks the header and checksum; returns the fields.
fn unseal<T: DeserializeOwned>(magic: &'static str, text: &str) -> Result<T, SavedError> {
    let (head, body) = text.split_once('\n').ok_or(SavedError::Foreign(magic))?;
    let mut words = head.split(' ');
    if words.next() != Some(magic) {
        return Err(SavedError::Foreign(magic));
    }
    match words.next() {
        Some(VERSION) => {}
        version => return Err(SavedError::Version(version.unwrap_or("none").to_owned())),
    }
    let sum = words.next().and_then(|word| u128::from_str_radix(word, 16).ok());
    if sum != Some(XxHash3_128::oneshot(body.as_bytes())) || words.next().is_some() {
        return Err(SavedError::Checksum);
    }
    serde_json::from_str(body).map_err(|_| SavedError::Shape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(slot: u8) -> Belongs {
        let facts =
            [("kind", "file"), ("inode", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let data = Data { identity: Identity::from_facts(facts), offset_bytes: 512 };
        Belongs { address: Address { shelf: 0, slot }, path: "/dev/\"vg\"".into(), data }
    }

    fn saved() -> impl Strategy<Value = Saved> {
        let macs = |max| prop::collection::vec(any::<[u8; 6]>().prop_map(Mac), 0..max);
        let config = prop::collection::vec(any::<u8>(), 0..1025);
        (config, macs(256), macs(256)).prop_map(|(config, mask, reservation)| Saved {
            config,
            mask,
            reservation,
        })
    }

    proptest! {
        #[test]
        fn what_was_saved_is_read(saved in saved()) {
            prop_assert_eq!(Saved::parse(&saved.to_text(&of(1))), Ok((of(1), saved)));
        }

        /// A file system may truncate a file, or fill its end with zeros.
        #[test]
        fn what_was_cut_or_changed_is_refused(saved in saved(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text = saved.to_text(&of(1));
            let at = at.index(text.len());
            prop_assert!(Saved::parse(&text[..at]).is_err());
            let mut changed = text.clone().into_bytes();
            prop_assume!(changed[at] != byte && byte.is_ascii() && !byte.eq_ignore_ascii_case(&changed[at]));
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(Saved::parse(&changed).is_err(), "{}", changed);
        }
    }

    #[test]
    fn what_another_program_wrote_is_refused() {
        let text = Saved::default().to_text(&of(1));
        let later = text.replacen(" 1 ", " 2 ", 1);
        assert_eq!(Saved::parse(&later), Err(SavedError::Version("2".into())));
        assert_eq!(Saved::parse("hello\n"), Err(SavedError::Foreign(MAGIC)));
        assert_eq!(Belongs::parse(&text), Err(SavedError::Foreign(USED)));
        assert_eq!(Belongs::parse(&of(2).to_text()), Ok(of(2)));
    }

    /// Written by releases before identities existed.
    #[test]
    fn a_file_without_an_identity_is_read() {
        let body = "{\"config\":\"61\",\"export\":\"0.1\",\"mask\":[],\"offset\":0,\"path\":\"/d\",\"reservation\":[]}\n";
        let text = format!("{MAGIC} 1 {:032x}\n{body}", XxHash3_128::oneshot(body.as_bytes()));
        let (belongs, saved) = Saved::parse(&text).unwrap();
        assert!(belongs.data.identity.is_empty() && saved.config == b"a", "{belongs:?}");
    }
}
