//! One export on the command line: `SHELF.SLOT=PATH[,OPTION...]`.

use std::path::PathBuf;
use std::str::FromStr;

use super::size::{SizeError, parse_bytes};
use crate::store::{Access, Durability};
use crate::wire::aoe::{Address, AddressError};

/// One export, as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Where it answers.
    pub address: Address,
    /// What is behind it.
    pub image: Image,
}

/// The store behind an export, as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Image {
    /// A file or block device through the page cache.
    File {
        /// Its path.
        path: PathBuf,
        /// Refuse writes.
        read_only: bool,
        /// First byte that is exported.
        offset_bytes: u64,
        /// Bytes that are exported; all that there are if `None`.
        length_bytes: Option<u64>,
        /// What an acknowledged write has survived.
        durability: Durability,
        /// How its bytes are reached.
        access: Access,
    },
    /// Nothing: writes are discarded, reads give zeros.
    Null {
        /// Its size.
        length_bytes: u64,
    },
}

/// What is wrong with an export.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExportError {
    /// Not of the form.
    #[error("'{0}' is not an export: write SHELF.SLOT=PATH, for example 0.1=/srv/disk.img")]
    Form(String),
    /// The address is not usable.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Unknown option.
    #[error(
        "'{option}' is not an option of an export (known: ro, offset=N, length=N, store=direct|file|mmap|null, \
         durability=durable|volatile; a path with a comma in it needs a link without one)"
    )]
    Option {
        /// As given.
        option: String,
    },
    /// An option has an unknown value.
    #[error("{option}={value} is not possible: {remedy}")]
    Value {
        /// Option.
        option: &'static str,
        /// As given.
        value: String,
        /// What to give.
        remedy: String,
    },
    /// An option stands twice.
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    /// `store=null` with an option that means nothing for it.
    #[error("{0} has no meaning for store=null: leave it out")]
    NullWith(&'static str),
    /// `store=null` without a size.
    #[error("store=null needs a size: add length=N, for example length=1GiB")]
    NullSize,
}

/// Options as they stand, before they mean anything together.
#[derive(Default)]
struct Raw {
    read_only: Option<()>,
    offset_bytes: Option<u64>,
    length_bytes: Option<u64>,
    store: Option<StoreKind>,
    durability: Option<Durability>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreKind {
    File(Access),
    Null,
}

impl FromStr for Export {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let form = || ExportError::Form(text.to_owned());
        let (address, rest) = text.split_once('=').ok_or_else(form)?;
        let address: Address = address.parse()?;
        let mut parts = rest.split(',');
        let path = parts.next().filter(|p| !p.is_empty()).ok_or_else(form)?;
        let mut raw = Raw::default();
        for option in parts {
            raw.set(option)?;
        }
        Ok(Self { address, image: raw.image(path)? })
    }
}

impl Raw {
    fn set(&mut self, option: &str) -> Result<(), ExportError> {
        match option.split_once('=') {
            None if option == "ro" => once("ro", &mut self.read_only, ()),
            Some(("offset", v)) => once("offset", &mut self.offset_bytes, size("offset", v)?),
            Some(("length", v)) => once("length", &mut self.length_bytes, length(v)?),
            Some(("store", v)) => once("store", &mut self.store, store(v)?),
            Some(("durability", v)) => once("durability", &mut self.durability, durability(v)?),
            _ => Err(ExportError::Option { option: option.to_owned() }),
        }
    }

    fn image(self, path: &str) -> Result<Image, ExportError> {
        if self.store == Some(StoreKind::Null) {
            let meaningless = [
                ("ro", self.read_only.is_some()),
                ("offset", self.offset_bytes.is_some()),
                ("durability", self.durability.is_some()),
            ];
            if let Some((name, _)) = meaningless.into_iter().find(|(_, given)| *given) {
                return Err(ExportError::NullWith(name));
            }
            let length_bytes = self.length_bytes.ok_or(ExportError::NullSize)?;
            return Ok(Image::Null { length_bytes });
        }
        Ok(Image::File {
            path: path.into(),
            read_only: self.read_only.is_some(),
            offset_bytes: self.offset_bytes.unwrap_or(0),
            length_bytes: self.length_bytes,
            durability: self.durability.unwrap_or(Durability::Durable),
            access: match self.store {
                Some(StoreKind::File(access)) => access,
                Some(StoreKind::Null) | None => Access::Fitting,
            },
        })
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), ExportError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ExportError::Twice(name)),
    }
}

fn size(option: &'static str, value: &str) -> Result<u64, ExportError> {
    parse_bytes(value).map_err(|e: SizeError| ExportError::Value {
        option,
        value: value.to_owned(),
        remedy: e.to_string(),
    })
}

fn length(value: &str) -> Result<u64, ExportError> {
    match size("length", value)? {
        0 => Err(bad("length", value, "give at least one sector")),
        bytes => Ok(bytes),
    }
}

fn store(value: &str) -> Result<StoreKind, ExportError> {
    match value {
        "direct" => Ok(StoreKind::File(Access::Direct)),
        "file" => Ok(StoreKind::File(Access::Cached)),
        "mmap" => Ok(StoreKind::File(Access::Mapped)),
        "null" => Ok(StoreKind::Null),
        _ => Err(bad(
            "store",
            value,
            "give direct, file, mmap or null (without it: mmap for a file in memory, else direct, else file)",
        )),
    }
}

fn durability(value: &str) -> Result<Durability, ExportError> {
    match value {
        "durable" => Ok(Durability::Durable),
        "volatile" => Ok(Durability::Volatile),
        _ => Err(bad("durability", value, "give durable or volatile")),
    }
}

fn bad(option: &'static str, value: &str, remedy: &str) -> ExportError {
    ExportError::Value { option, value: value.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Export, ExportError> {
        text.parse()
    }

    #[test]
    fn the_plain_form_is_durable_and_whole() {
        let export = parse("7.14=/srv/a disk.img").unwrap();
        assert_eq!(export.address.to_string(), "7.14");
        let Image::File { path, read_only, offset_bytes, length_bytes, durability, access } = export.image
        else {
            panic!("not a file")
        };
        assert_eq!((path.to_str(), read_only), (Some("/srv/a disk.img"), false));
        assert_eq!((offset_bytes, length_bytes, durability), (0, None, Durability::Durable));
        assert_eq!(access, Access::Fitting);
    }

    #[test]
    fn every_option() {
        let export = parse("0.1=/d,ro,offset=2048,length=1GiB,store=mmap,durability=volatile").unwrap();
        assert_eq!(
            export.image,
            Image::File {
                path: "/d".into(),
                read_only: true,
                offset_bytes: 1 << 20,
                length_bytes: Some(1 << 30),
                durability: Durability::Volatile,
                access: Access::Mapped,
            }
        );
        let null = parse("0.1=none,store=null,length=1G").unwrap();
        assert_eq!(null.image, Image::Null { length_bytes: 1 << 30 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("disk.img", "not an export"),
            ("0.1=", "not an export"),
            ("0.1=/d,readonly", "'readonly' is not an option"),
            ("0.1=/d,ro=1", "'ro=1' is not an option"),
            ("0.1=/d,,ro", "'' is not an option"),
            ("0.1=/d,offset=100B", "not a multiple of 512"),
            ("0.1=/d,length=0", "at least one sector"),
            ("0.1=/d,store=disk", "direct, file, mmap or null"),
            ("0.1=/d,durability=yes", "durable or volatile"),
            ("0.1=/d,ro,ro", "ro is given twice"),
            ("0.1=x,store=null", "needs a size"),
            ("0.1=x,store=null,length=1G,ro", "ro has no meaning"),
            ("4095.1=/d", "4095"),
            ("65535.1=/d", "65535"),
            ("0.255=/d", "255"),
            ("a.1=/d", "a.1"),
        ];
        for (text, part) in rows {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
