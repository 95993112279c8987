//! What initiators have set, as text that lasts.
//!
//! ```text
//! xblade-state 1 5d41402abc4b2a76b9719d911017c592
//! {"export":"0.1","path":"/dev/vg/data","offset":0,"config":"68656c6c6f","mask":[],"reservation":[]}
//! ```
//!
//! The number in the first line is the version; behind it is the XXH3 hash (128
//! bits) of all that follows the line.

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::mac_list::ListFull;
use super::state::State;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

const MAGIC: &str = "xblade-state";
const VERSION: &str = "1";

/// The state of an export that survives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// The reservation.
    pub reservation: Vec<Mac>,
}

/// What the state belongs to: another export does not get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Belongs {
    /// Where it answers.
    pub address: Address,
    /// The file or device, as it was given.
    pub path: String,
    /// Where in it the export begins, in bytes.
    pub offset: u64,
}

/// Why a text is no state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SavedError {
    /// Another program, or none, has written it.
    #[error("it does not begin with '{MAGIC}'")]
    Foreign,
    /// A later release has written it.
    #[error("it is of version {0}, and this xblade knows version {VERSION}")]
    Version(String),
    /// Bytes have changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, and it still makes no sense.
    #[error("it makes no sense")]
    Shape,
    /// It belongs to another export.
    #[error("it belongs to another export")]
    Other,
}

impl Saved {
    /// What there is to save of a state.
    pub fn of(state: &State) -> Self {
        Self {
            config: state.config().to_vec(),
            mask: state.mask().to_vec(),
            reservation: state.reservation().to_vec(),
        }
    }

    /// The text of a file that says so.
    pub fn to_text(&self, of: &Belongs) -> String {
        let macs = |macs: &[Mac]| macs.iter().map(Mac::to_string).collect::<Vec<_>>();
        let body = json!({
            "export": of.address.to_string(),
            "path": of.path,
            "offset": of.offset,
            "config": hex(&self.config),
            "mask": macs(&self.mask),
            "reservation": macs(&self.reservation),
        });
        let body = format!("{body}\n");
        format!("{MAGIC} {VERSION} {:032x}\n{body}", xxh3_128(body.as_bytes()))
    }

    /// Reads such a text.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it: nothing is guessed.
    pub fn parse(text: &str, of: &Belongs) -> Result<Self, SavedError> {
        let (head, body) = text.split_once('\n').ok_or(SavedError::Foreign)?;
        let mut words = head.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(SavedError::Foreign);
        }
        match words.next() {
            Some(VERSION) => {}
            version => return Err(SavedError::Version(version.unwrap_or("none").to_owned())),
        }
        let sum = words.next().and_then(|word| u128::from_str_radix(word, 16).ok());
        if sum != Some(xxh3_128(body.as_bytes())) || words.next().is_some() {
            return Err(SavedError::Checksum);
        }
        let value: Value = serde_json::from_str(body).map_err(|_| SavedError::Shape)?;
        let belongs = value.get("export").and_then(Value::as_str) == Some(&of.address.to_string())
            && value.get("path").and_then(Value::as_str) == Some(&of.path)
            && value.get("offset").and_then(Value::as_u64) == Some(of.offset);
        if !belongs {
            return Err(SavedError::Other);
        }
        let read = || {
            Some(Self {
                config: bytes(value.get("config")?.as_str()?)?,
                mask: macs(value.get("mask")?)?,
                reservation: macs(value.get("reservation")?)?,
            })
        };
        read().ok_or(SavedError::Shape)
    }

    /// Puts it into force, as if it had never been away.
    ///
    /// # Errors
    ///
    /// A list is longer than it can be.
    pub fn restore(&self, state: &mut State) -> Result<(), ListFull> {
        state.set_config(&self.config)?;
        for mac in &self.mask {
            state.add_to_mask(*mac)?;
        }
        state.set_reservation(self.reservation.iter().copied())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn macs(list: &Value) -> Option<Vec<Mac>> {
    list.as_array()?.iter().map(|mac| mac.as_str()?.parse().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(slot: u8) -> Belongs {
        Belongs { address: Address { shelf: 0, slot }, path: "/dev/\"vg\"".into(), offset: 512 }
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
            prop_assert_eq!(Saved::parse(&saved.to_text(&of(1)), &of(1)), Ok(saved));
        }

        /// A file system may lose the end of a file, or give zeros for it.
        #[test]
        fn what_was_cut_or_changed_is_refused(saved in saved(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let text = saved.to_text(&of(1));
            let at = at.index(text.len());
            prop_assert!(Saved::parse(&text[..at], &of(1)).is_err());
            let mut changed = text.clone().into_bytes();
            prop_assume!(changed[at] != byte && byte.is_ascii() && !byte.eq_ignore_ascii_case(&changed[at]));
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(Saved::parse(&changed, &of(1)).is_err(), "{}", changed);
        }
    }

    #[test]
    fn another_export_does_not_get_it() {
        let text = Saved::default().to_text(&of(1));
        assert_eq!(Saved::parse(&text, &of(2)), Err(SavedError::Other));
        let moved = Belongs { offset: 0, ..of(1) };
        assert_eq!(Saved::parse(&text, &moved), Err(SavedError::Other));
        let later = text.replacen(" 1 ", " 2 ", 1);
        assert_eq!(Saved::parse(&later, &of(1)), Err(SavedError::Version("2".into())));
        assert_eq!(Saved::parse("hello\n", &of(1)), Err(SavedError::Foreign));
    }
}
