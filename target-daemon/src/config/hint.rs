//! Command lines that are meant in another way.

use std::ffi::OsString;

use clap::Command;
use clap::error::{Error, ErrorKind};

use super::Vblade;
use super::vblade::for_a_shell;

/// The error of a command line; if it is one of vblade, with what to write.
pub(super) fn better(error: Error, command: &mut Command, words: &[OsString]) -> Error {
    let Some((given, serve)) = vblade(words) else { return error };
    let what = format!(
        "these are the arguments of vblade: write `xblade vblade {given}`, or, as xblade has it, `xblade serve {serve}`"
    );
    command.error(ErrorKind::InvalidValue, what)
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
}
