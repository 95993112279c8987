//! The arguments of vblade: `[-b -d -s -r -m -o -l] shelf slot netif file`.

use std::ops::RangeInclusive;
use std::path::Path;

use clap::Parser;

use crate::config::bounds::BUFFER_COUNT_MIN;
use crate::config::export::Given;
use crate::config::{Export, PathOrNone, Serve};
use crate::store::Problem;
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::Mac;

/// The arguments of one vblade process. As with getopt(3), the last of several options counts,
/// but for the lists of `-m`.
#[derive(Parser, Clone, PartialEq, Eq, Debug)]
#[command(name = "vblade", no_binary_name = true, args_override_self = true)]
pub struct Vblade {
    /// Requests that each initiator may have on the way.
    #[arg(short = 'b', value_name = "bufcnt", value_parser = count)]
    pub buffer_count: Option<u16>,

    /// Bypass the page cache.
    #[arg(short)]
    pub direct: bool,

    /// Acknowledge a write when it is on stable storage: always so with xblade.
    #[arg(short)]
    pub stable: bool,

    /// Refuse writes.
    #[arg(short)]
    pub read_only: bool,

    /// Serve only initiators with these MAC addresses.
    #[arg(short, value_name = "mac", value_delimiter = ',', value_parser = mac)]
    pub macs: Vec<Mac>,

    /// The first sector of the file to serve.
    #[arg(short, value_name = "offset", value_parser = offset)]
    pub offset: Option<u64>,

    /// The number of sectors to serve.
    #[arg(short, value_name = "length", value_parser = length)]
    pub length: Option<u64>,

    /// The shelf of the AoE address.
    #[arg(value_name = "shelf", value_parser = shelf)]
    pub shelf: u16,

    /// The slot of the AoE address.
    #[arg(value_name = "slot", value_parser = slot)]
    pub slot: u8,

    /// The interface.
    #[arg(value_name = "netif")]
    pub netif: String,

    /// The file or device.
    #[arg(value_name = "filename")]
    pub file: String,
}

impl Vblade {
    /// The AoE address.
    pub fn address(&self) -> Result<Address, Problem> {
        Address::new(self.shelf, self.slot)
            .map_err(|AddressError { what, remedy }| Problem::new(what, remedy))
    }

    /// The equivalent export of xblade. It is durable, with or without `-s`.
    fn export(&self) -> Result<Export, Problem> {
        let mut given = Given::default();
        let sectors = |name: &str, n: Option<u64>| n.map(|n| format!("{name}={n}"));
        let options = [
            self.read_only.then(|| "ro".to_owned()),
            self.direct.then(|| "store=direct".to_owned()),
            sectors("offset", self.offset),
            sectors("length", self.length),
        ];
        options.into_iter().flatten().try_for_each(|option| given.add(&option))?;
        given.allow = (!self.macs.is_empty()).then(|| self.macs.clone());
        given.export(self.address()?, &self.file)
    }

    /// The configuration that xblade serves when called as vblade.
    pub fn serve(&self) -> Result<Serve, Problem> {
        let export = self.export()?;
        // Several instances at once are common, so each has its own socket.
        let socket = format!("/run/xblade/{}-{}.sock", export.address, self.netif);
        let mut serve =
            Serve { exports: vec![export], interfaces: vec![self.netif.clone()], ..Serve::default() };
        serve.service.control = PathOrNone(Some(socket.into()));
        serve.buffer_count = self.buffer_count.unwrap_or(serve.buffer_count);
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

/// AoE addresses sectors with 48 bits.
const SECTORS_MAX: u64 = 1 << 48;

fn offset(text: &str) -> Result<u64, String> {
    sectors(text, 0..=SECTORS_MAX)
}

fn length(text: &str) -> Result<u64, String> {
    sectors(text, 1..=SECTORS_MAX)
}

/// Refuses a leading zero, which vblade reads as octal in one place and as decimal in another.
fn sectors(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    match text.strip_prefix('0') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            Err("write it without the leading zero".to_owned())
        }
        _ => number(text, range),
    }
}

fn count(text: &str) -> Result<u16, String> {
    number(text, BUFFER_COUNT_MIN.into()..=u16::MAX.into()).map(|count| count as u16)
}

fn shelf(text: &str) -> Result<u16, String> {
    number(text, 0..=u16::MAX.into()).map(|shelf| shelf as u16)
}

fn slot(text: &str) -> Result<u8, String> {
    number(text, 0..=u8::MAX.into()).map(|slot| slot as u8)
}

/// Parses a decimal number, or hex with 0x.
fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let number = number.ok().filter(|number| range.contains(number) && !text.contains('+'));
    number.ok_or_else(|| format!("give a number from {} to {}", range.start(), range.end()))
}

/// Parses an address with colons or without, at any place.
fn mac(text: &str) -> Result<Mac, String> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ':').collect();
    let pairs: Vec<String> = digits.chunks(2).map(String::from_iter).collect();
    pairs.join(":").parse().map_err(|_| "write 12 hex digits, with colons or without".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, OpenOptions};

    fn parse(line: &str) -> Result<Vblade, clap::Error> {
        Vblade::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn options_stand_where_getopt_takes_them() {
        let plain = parse("0 1 eth0 /d").unwrap();
        assert_eq!((plain.shelf, plain.slot, plain.netif.as_str()), (0, 1, "eth0"));
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
            ("", "<shelf> <slot> <netif> <filename>"),
            ("0 1 eth0", "  <filename>"),
            ("0 1 eth0 /d /e", "unexpected argument '/e'"),
            ("-r eth0 0 1 /d", "'eth0' for '<shelf>': give a number from 0 to 65535"),
            ("-x 0 1 eth0 /d", "unexpected argument '-x'"),
            ("--long 0 1 eth0 /d", "unexpected argument '--long'"),
            ("0 1 eth0 /d -b", "a value is required for '-b <bufcnt>'"),
            ("-b 1 0 1 eth0 /d", "'1' for '-b <bufcnt>': give a number from 2"),
            ("-o -8 0 1 eth0 /d", "unexpected argument '-8'"),
            ("-o +8 0 1 eth0 /d", "'+8' for '-o <offset>'"),
            ("-l 0 0 1 eth0 /d", "'0' for '-l <length>': give a number from 1"),
            ("-o 010 0 1 eth0 /d", "'010' for '-o <offset>': write it without the leading zero"),
            ("-m 5254 0 1 eth0 /d", "'5254' for '-m <mac>': write 12 hex digits"),
            ("-m 52:54:00:00:00:01, 0 1 eth0 /d", "'-m <mac>'"),
            ("65536 1 eth0 /d", "'65536' for '<shelf>'"),
            ("0 256 eth0 /d", "'256' for '<slot>'"),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
        for (line, part) in
            [("4095 1 eth0 /d", "Linux initiators ignore it"), ("0 255 eth0 /d", "every slot")]
        {
            let message = parse(line).unwrap().serve().unwrap_err().to_string();
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
