//! The arguments of vblade: `[-b -d -s -r -m -o -l] shelf slot netif file`.

use std::path::Path;
use std::str::FromStr;

use clap::Parser;

use crate::config::bounds::BUFFER_COUNT_MIN;
use crate::config::export::Given;
use crate::config::suggest::mac_of_digits;
use crate::config::{Export, Serve};
use crate::store::Problem;
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::Mac;

/// The arguments of one vblade process. As with getopt(3), the last of several options counts,
/// but for the lists of `-m`.
#[derive(Parser, Clone, PartialEq, Eq, Debug)]
#[command(name = "vblade", no_binary_name = true, args_override_self = true)]
pub struct Vblade {
    /// Requests that each initiator may have on the way.
    #[arg(short = 'b', value_name = "bufcnt",
        value_parser = clap::value_parser!(u16).range(i64::from(BUFFER_COUNT_MIN)..))]
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
    #[arg(short, value_name = "offset", value_parser = |text: &str| sectors(text, 0))]
    pub offset: Option<u64>,

    /// The number of sectors to serve.
    #[arg(short, value_name = "length", value_parser = |text: &str| sectors(text, 1))]
    pub length: Option<u64>,

    /// The shelf of the AoE address.
    #[arg(value_name = "shelf", value_parser = number::<u16>)]
    pub shelf: u16,

    /// The slot of the AoE address.
    #[arg(value_name = "slot", value_parser = number::<u8>)]
    pub slot: u8,

    /// The interface.
    #[arg(value_name = "netif")]
    pub netif: String,

    /// The file or device.
    #[arg(value_name = "filename")]
    pub file: String,
}

/// A shelf or slot.
fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "the order is shelf (0 to 65534), slot (0 to 254), netif, filename")
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
        serve.service.control = Some(socket.into());
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

/// Parses a number of sectors: decimal, or hex with 0x. Refuses a leading zero, which vblade
/// reads as octal in one place and as decimal in another.
fn sectors(text: &str, least: u64) -> Result<u64, String> {
    // AoE addresses sectors with 48 bits.
    const SECTORS_MAX: u64 = 1 << 48;
    let number = match text.strip_prefix('0').map(|rest| (rest, rest.strip_prefix(['x', 'X']))) {
        None | Some(("", _)) => text.parse(),
        Some((_, Some(hex))) => u64::from_str_radix(hex, 16),
        Some(_) => return Err("write it without the leading zero".to_owned()),
    };
    let number = number.ok().filter(|number| (least..=SECTORS_MAX).contains(number));
    number.ok_or_else(|| format!("give a number from {least} to {SECTORS_MAX}"))
}

fn mac(text: &str) -> Result<Mac, &'static str> {
    mac_of_digits(text).ok_or("write 12 hex digits, with colons or without")
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
            ("-r eth0 0 1 /d", "'eth0' for '<shelf>': the order is shelf"),
            ("-x 0 1 eth0 /d", "unexpected argument '-x'"),
            ("--long 0 1 eth0 /d", "unexpected argument '--long'"),
            ("0 1 eth0 /d -b", "a value is required for '-b <bufcnt>'"),
            ("-b 1 0 1 eth0 /d", "'1' for '-b <bufcnt>': 1 is not in 2..=65535"),
            ("-o -8 0 1 eth0 /d", "unexpected argument '-8'"),
            ("-o 0x 0 1 eth0 /d", "'0x' for '-o <offset>'"),
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
