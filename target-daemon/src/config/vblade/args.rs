//! The arguments of vblade: `[-b -d -s -r -m -o -l] shelf slot netif file`.

use std::path::Path;

use super::order;
use crate::config::bounds::BUFFER_COUNT_MIN;
use crate::config::export::Given;
use crate::config::{Export, PathOrNone, Serve};
use crate::store::Problem;
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::Mac;

const USAGE: &str =
    "write [-b bufcnt] [-o offset] [-l length] [-d] [-s] [-r] [-m mac[,mac...]] shelf slot netif filename";

/// The arguments of one vblade process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vblade {
    /// `-b`, if given.
    pub buffer_count: Option<u16>,
    /// `-d`: bypasses the page cache.
    pub direct: bool,
    /// `-s`: acknowledges a write when it is on stable storage.
    pub stable: bool,
    /// `-r`.
    pub read_only: bool,
    /// `-m`.
    pub macs: Vec<Mac>,
    /// `-o`, in sectors.
    pub offset: Option<u64>,
    /// `-l`, in sectors.
    pub length: Option<u64>,
    /// The AoE address.
    pub address: Address,
    /// The interface.
    pub netif: String,
    /// The exported file.
    pub file: String,
}

/// An error with the usage as its remedy.
fn usage(what: String) -> Problem {
    Problem::new(what, USAGE)
}

impl Vblade {
    /// Parses the words after `vblade` as getopt(3) does: options may stand anywhere,
    /// several may follow one dash, and a value may be in the same word.
    pub fn parse(words: &[String]) -> Result<Self, Problem> {
        let mut read = Self {
            buffer_count: None,
            direct: false,
            stable: false,
            read_only: false,
            macs: Vec::new(),
            offset: None,
            length: None,
            address: Address { shelf: 0, slot: 0 },
            netif: String::new(),
            file: String::new(),
        };
        let mut plain: Vec<&str> = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") => plain.extend(words.by_ref()),
                Some(long) if long.starts_with('-') => {
                    return Err(usage(format!("{word} is not an option of vblade")));
                }
                Some(options) if !options.is_empty() => read.options(options, &mut words)?,
                _ => plain.push(word),
            }
        }
        let Ok(four) = <[&str; 4]>::try_from(plain.as_slice()) else {
            return Err(usage(format!(
                "there are {} words beside the options, and vblade takes 4",
                plain.len()
            )));
        };
        let is_number = |word: &str| number("", decimal(word), 0, u64::MAX).is_ok();
        if let Some(meant) = order::meant(&four, is_number) {
            let what = "the order of the arguments is shelf slot netif filename";
            return Err(Problem::new(what, format!("write `{}`", meant.join(" "))));
        }
        let [shelf, slot, netif, file] = four;
        let shelf = number("shelf", decimal(shelf), 0, u16::MAX.into())? as u16;
        let slot = number("slot", decimal(slot), 0, u8::MAX.into())? as u8;
        let address = Address::new(shelf, slot);
        let address = address.map_err(|AddressError { what, remedy }| Problem::new(what, remedy))?;
        Ok(Self { address, netif: netif.to_owned(), file: file.to_owned(), ..read })
    }

    /// Parses the options after one dash; the last may have its value in the next word.
    fn options<'a>(
        &mut self,
        options: &'a str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Problem> {
        for (at, option) in options.char_indices() {
            match option {
                'd' => self.direct = true,
                's' => self.stable = true,
                'r' => self.read_only = true,
                'b' | 'm' | 'o' | 'l' => {
                    let rest = options.get(at + 1..).filter(|rest| !rest.is_empty());
                    let value = rest
                        .or_else(|| words.next())
                        .ok_or_else(|| usage(format!("-{option} needs a value")))?;
                    return self.value(option, value);
                }
                other => return Err(usage(format!("-{other} is not an option of vblade"))),
            }
        }
        Ok(())
    }

    fn value(&mut self, option: char, value: &str) -> Result<(), Problem> {
        // AoE addresses sectors with 48 bits.
        const SECTORS_MAX: u64 = 1 << 48;
        match option {
            'b' => {
                let count = number("-b", decimal(value), BUFFER_COUNT_MIN.into(), u16::MAX.into())?;
                self.buffer_count = Some(count as u16);
            }
            'o' => self.offset = Some(number("-o", value, 0, SECTORS_MAX)?),
            'l' => self.length = Some(number("-l", value, 1, SECTORS_MAX)?),
            _ => {
                for text in value.split(',') {
                    let remedy = "write 12 hex digits, with colons or without";
                    let not_one = || Problem::new(format!("-m {text:?} is not a MAC address"), remedy);
                    self.macs.push(mac(text).ok_or_else(not_one)?);
                }
            }
        }
        Ok(())
    }

    /// The equivalent export of xblade. It is durable, with or without `-s`.
    pub fn export(&self) -> Result<Export, Problem> {
        let mut given = Given::default();
        for option in self.options_of_export() {
            given.add(&option)?;
        }
        given.allow = (!self.macs.is_empty()).then(|| self.macs.clone());
        given.export(self.address, &self.file)
    }

    fn options_of_export(&self) -> Vec<String> {
        let sectors = |name: &str, n: Option<u64>| n.map(|n| format!("{name}={n}"));
        let options = [
            self.read_only.then(|| "ro".to_owned()),
            self.direct.then(|| "store=direct".to_owned()),
            sectors("offset", self.offset),
            sectors("length", self.length),
        ];
        options.into_iter().flatten().collect()
    }

    /// The equivalent arguments of `xblade serve`, quoted for a shell; `None` if the file
    /// name cannot be written that way.
    pub fn as_serve(&self) -> Option<String> {
        if self.file.contains(',') {
            return None;
        }
        let mut export = format!("{}={}", self.address, self.file);
        for option in self.options_of_export() {
            export = format!("{export},{option}");
        }
        let mut words = vec![export, "--interface".to_owned(), self.netif.clone()];
        if let Some(count) = self.buffer_count {
            words.extend(["--buffer-count".to_owned(), count.to_string()]);
        }
        if !self.macs.is_empty() {
            let macs: Vec<String> = self.macs.iter().map(Mac::to_string).collect();
            words.extend(["--allow".to_owned(), macs.join(",")]);
        }
        super::for_a_shell(&words)
    }

    /// The configuration that xblade serves when called as vblade.
    pub fn serve(&self) -> Result<Serve, Problem> {
        let exports = vec![self.export()?];
        let mut serve = Serve { exports, interfaces: vec![self.netif.clone()], ..Serve::default() };
        // Several instances at once are common, so each has its own socket.
        let socket = format!("/run/xblade/{}-{}.sock", self.address, self.netif);
        serve.service.control = PathOrNone(Some(socket.into()));
        if let Some(count) = self.buffer_count {
            serve.buffer_count = count;
        }
        Ok(serve.settled())
    }

    /// Whether vblade would have acknowledged writes before they are on stable storage.
    pub fn was_volatile(&self) -> bool {
        !self.stable && !self.read_only
    }

    /// Whether a program with this name should behave as vblade.
    pub fn is_called(program: &Path) -> bool {
        program.file_name().is_some_and(|name| name == "vblade" || name == "xblade-vblade")
    }
}

/// Strips leading zeros, which have no meaning where vblade parses decimal (atoi).
fn decimal(text: &str) -> &str {
    let digits = text.trim_start_matches('0');
    match digits.chars().next() {
        Some(c) if c.is_ascii_digit() => digits,
        // Only zeros.
        None if !text.is_empty() => "0",
        // Hex, or not a number.
        _ => text,
    }
}

/// Parses a decimal number, or hex with 0x. A leading zero is refused, because vblade's C
/// code reads it as octal in one place and as decimal in another.
fn number(what: &'static str, text: &str, min: u64, max: u64) -> Result<u64, Problem> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let read = match digits {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.starts_with('+') || (text.len() > 1 && text.starts_with('0')) => None,
        None => text.parse().ok(),
    };
    read.filter(|n| (min..=max).contains(n)).ok_or_else(|| {
        Problem::new(format!("{what} {text:?} is not possible"), format!("give a number from {min} to {max}"))
    })
}

fn mac(text: &str) -> Option<Mac> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let is_hex = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs: Vec<&str> = (0..12).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    is_hex.then(|| pairs.join(":").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, OpenOptions};

    fn parse(line: &str) -> Result<Vblade, Problem> {
        Vblade::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_where_getopt_takes_them() {
        let plain = parse("0 1 eth0 /d").unwrap();
        assert_eq!((plain.address, plain.netif.as_str()), (Address { shelf: 0, slot: 1 }, "eth0"));
        let full =
            parse("-b 24 -d -s -r -m 525400000001,52:54:00:00:00:0A -o 8 -l 0x10 0 1 eth0 /d").unwrap();
        for other in [
            "-dsrb24 -o8 -l0x10 -m525400000001 -m 52:54:00:00:00:0a 0 1 eth0 /d",
            "0 1 eth0 /d -s -d -r -o 8 -l 16 -b 24 -m 5254:0000:0001,52540000000a",
            "-sd -r -b024 -l 16 -o 8 -m 525400000001,52540000000a 00 01 eth0 /d",
            "-sdr -b24 -l 16 -o 8 -m 525400000001,52540000000A -- 0 1 eth0 /d",
        ] {
            assert_eq!(parse(other).unwrap(), full, "{other}");
        }
        let serve = full.serve().unwrap();
        assert_eq!((serve.buffer_count, serve.interfaces), (24, vec!["eth0".to_owned()]));
        let expected = OpenOptions {
            read_only: true,
            access: Access::Direct,
            offset_bytes: 4096,
            length_bytes: Some(8192),
            ..OpenOptions::new("/d")
        };
        let export = serve.exports.first().unwrap();
        assert_eq!(export.store.file(), Some(expected));
        assert_eq!(export.allow.as_deref().unwrap().len(), 2);
    }

    #[test]
    fn what_vblade_would_not_take_is_refused() {
        for (line, part) in [
            ("", "0 words"),
            ("0 1 eth0", "3 words"),
            ("0 1 eth0 /d /e", "5 words"),
            ("-r eth0 0 1 /d", "shelf slot netif filename: write `0 1 eth0 /d`"),
            ("0 1 /d eth0", "shelf slot netif filename: write `0 1 eth0 /d`"),
            ("-x 0 1 eth0 /d", "-x is not an option of vblade"),
            ("--help", "--help is not an option of vblade: "),
            ("0 1 eth0 /d -b", "-b needs a value"),
            ("-b 1 0 1 eth0 /d", "-b \"1\" is not possible: give a number from 2"),
            ("-o -8 0 1 eth0 /d", "-o \"-8\""),
            ("-l 0 0 1 eth0 /d", "-l \"0\""),
            ("-o 010 0 1 eth0 /d", "-o \"010\""),
            ("-m 5254 0 1 eth0 /d", "-m \"5254\" is not a MAC address"),
            ("-m 52:54:00:00:00:01, 0 1 eth0 /d", "-m \"\""),
            ("65536 1 eth0 /d", "shelf \"65536\""),
            ("4095 1 eth0 /d", "Linux initiators ignore it"),
            ("0 255 eth0 /d", "every slot"),
            ("0 256 eth0 /d", "slot \"256\""),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn it_goes_by_the_name_that_it_is_called_by() {
        for (name, expected) in [
            ("/usr/sbin/vblade", true),
            ("xblade-vblade", true),
            ("xblade", false),
            ("/vblade/xblade", false),
        ] {
            assert_eq!(Vblade::is_called(Path::new(name)), expected, "{name}");
        }
    }
}
