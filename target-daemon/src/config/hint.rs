//! Suggestions for arguments in the style of other programs.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::vblade::for_a_shell;
use super::{Vblade, suggest};

/// Names of other programs for `--interface`.
const INTERFACE: [&str; 7] = ["--netif", "--iface", "--ifname", "--if", "--dev", "--device", "--nic"];

/// The error of a command line, with a suggestion if there is one.
pub(super) fn better(error: Error, command: &mut Command, words: &[OsString]) -> Error {
    if let Some(call) = vblade(words) {
        let (given, serve) = call;
        let what = format!(
            "these are the arguments of vblade: write `xblade vblade {given}`, or, as xblade has it, `xblade serve \
             {serve}`"
        );
        return command.error(ErrorKind::InvalidValue, what);
    }
    suggest::add(interface(error, command, words), command, words)
}

/// Adds `--interface` as suggestion where another name for it was given.
pub fn interface(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    let is_interface = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(name)) if INTERFACE.contains(&name.as_str())
    );
    if error.kind() == ErrorKind::UnknownArgument && is_interface && has_interface(command, words) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String("--interface".to_owned()));
    }
    error
}

/// Whether the subcommand has that option.
fn has_interface(command: &Command, words: &[OsString]) -> bool {
    let name = words.get(1).and_then(|name| name.to_str());
    name.and_then(|name| subcommand(command, name))
        .is_some_and(|one| one.get_arguments().any(|arg| arg.get_long() == Some("interface")))
}

/// The subcommand with that name.
pub(super) fn subcommand<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    command.get_subcommands().find(|one| one.get_name() == name)
}

/// Moves `--control` from before the command to after it, where the commands accept it.
pub(super) fn control_last(mut words: Vec<OsString>) -> Vec<OsString> {
    let first = words.get(1).and_then(|word| word.to_str()).unwrap_or("");
    let count = match first {
        "--control" => 2,
        _ if first.starts_with("--control=") => 1,
        _ => 0,
    };
    // Without further words there is no command.
    if words.len() > 1 + count {
        let moved: Vec<OsString> = words.drain(1..1 + count).collect();
        words.extend(moved);
    }
    words
}

/// Recognizes arguments of vblade after `xblade` or `xblade serve`. Returns them, and the
/// equivalent arguments of `xblade serve`. Options of xblade may stand beside the four
/// words of vblade.
fn vblade(words: &[OsString]) -> Option<(String, String)> {
    let words = words.iter().skip(1).map(|word| word.to_str().map(str::to_owned));
    let words: Vec<String> = words.collect::<Option<_>>()?;
    let (words, is_serve) = match words.strip_prefix(&["serve".to_owned()]) {
        Some(rest) => (rest, true),
        None => (words.as_slice(), false),
    };
    let four = words.windows(4).filter(|_| is_serve);
    let mut calls = std::iter::once(words).chain(four);
    let (given, call) = calls.find_map(|words| Some((words, Vblade::parse(words).ok()?)))?;
    Some((for_a_shell(given)?, call.as_serve()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::config::Cli;

    use super::*;

    fn said(line: &str) -> String {
        let error = Cli::read(line.split_whitespace().map(OsString::from)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        error.to_string()
    }

    #[test]
    fn arguments_of_vblade_are_recognised() {
        for (line, vblade, serve) in [
            ("xblade 0 1 eth0 a.img", "0 1 eth0 a.img", "0.1=a.img --interface eth0`"),
            ("xblade serve 0 1 eth0 a$.img", "0 1 eth0 'a$.img'", "'0.1=a$.img' --interface eth0`"),
            (
                "xblade serve --no-probe 0 1 eth0 a.img --xdp-mode generic",
                "0 1 eth0 a.img",
                "0.1=a.img --interface eth0`",
            ),
            (
                "xblade -r -b 24 -o 8 -l 16 -d -m 525400000001 7 2 eth0 /d",
                "-r -b 24 -o 8 -l 16 -d -m 525400000001 7 2 eth0 /d",
                "7.2=/d,ro,store=direct,offset=8,length=16 --interface eth0 --buffer-count 24 --allow \
                 52:54:00:00:00:01`",
            ),
        ] {
            let said = said(line);
            let both = format!("`xblade vblade {vblade}`, or, as xblade has it, `xblade serve {serve}");
            assert!(said.contains(&both), "{line}: {said}");
        }
        for other in
            ["xblade serve 0 1 eth0", "xblade serve 0.1=a b", "xblade 4095 1 eth0 a", "xblade check 0 1 e a"]
        {
            assert!(!said(other).contains("vblade:"), "{other}");
        }
    }

    #[test]
    fn words_at_a_wrong_place_get_a_tip() {
        for (line, tip) in [
            ("serve 0.1=a eth1", "--interface eth1"),
            ("serve 0.1=a lo -i eth1", "--interface lo"),
            ("check eth1", "--interface eth1"),
            ("steer --plan eth1", "--interface eth1"),
            ("serve x.toml", "--config x.toml"),
            ("check /etc/x.toml", "--config /etc/x.toml"),
            ("show x.toml", "--config x.toml"),
            ("serve 0.2=b.img, ro -i eth1", "0.2=b.img,ro"),
            ("export add 0.2=b.img,offset=8, ro", "0.2=b.img,offset=8,ro"),
            ("serve 0.2 b.img -i eth1", "0.2=b.img"),
            ("serve -i eth1 0.1=a 0.2 b.img", "0.2=b.img"),
            ("export add 0.2 b.img", "0.2=b.img"),
            ("export list", "xblade status"),
            ("export rw 0.1", "xblade export read-only --off"),
            ("check 0.1=a -i eth1", "--config FILE"),
        ] {
            let said = said(&format!("xblade {line}"));
            assert!(said.contains("tip: ") && said.contains(&format!("'{tip}'")), "{line}: {said}");
        }
        for other in [
            "serve disk.img -i eth1",
            "serve disk -i eth1",
            "serve /dev/sdb",
            "serve src",
            "serve 0.1 -i eth1",
            "export remove 0.1 b.img",
            "export resize 0.1 eth1",
            "status x.toml",
            "status eth1",
        ] {
            let said = said(&format!("xblade {other}"));
            assert!(!said.contains("tip: "), "{other}: {said}");
        }
    }

    #[test]
    fn the_control_socket_may_be_named_before_the_command() {
        for (line, expected) in [
            ("xblade --control /p status", "xblade status --control /p"),
            ("xblade --control=/p export add 0.1=a", "xblade export add 0.1=a --control=/p"),
            ("xblade status --control /p", "xblade status --control /p"),
            ("xblade --control status", "xblade --control status"),
            ("xblade --control=/p", "xblade --control=/p"),
            ("xblade", "xblade"),
        ] {
            let words = control_last(line.split_whitespace().map(OsString::from).collect());
            assert_eq!(words.join(std::ffi::OsStr::new(" ")), *expected, "{line}");
        }
        assert!(Cli::read("xblade --control /p top".split(' ').map(OsString::from)).is_ok());
        assert!(said("xblade --control /p").contains("--control"));
    }

    #[test]
    fn names_of_others_for_the_interface_get_a_hint() {
        for given in INTERFACE.iter().chain(&["--interfaces"]) {
            for command in ["serve 0.1=a", "check", "steer --plan"] {
                let said = said(&format!("xblade {command} {given} eth0"));
                assert!(
                    said.contains("'--interface'") || said.contains("'--interface <IF>'"),
                    "{given}: {said}"
                );
            }
        }
        assert!(!said("xblade status --iface eth0").contains("--interface"));
    }
}
