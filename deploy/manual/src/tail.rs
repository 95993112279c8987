//! The sections at the end of a manual page: what the help of the command says after its
//! options, files, exit status, examples, and other pages.

use crate::page::{escape, lines};

/// The commands of a program whose help has no examples.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "xblade",
        "xblade check --interface eth1\nxblade serve 0.1=/srv/disk.img --interface eth1\nxblade status",
    ),
    ("xblade-check", "xblade check --interface eth1\nxblade check --config /etc/xblade/xblade.toml"),
    ("xblade-show", "xblade show\nxblade show --config /etc/xblade/xblade.toml"),
    ("xblade-top", "xblade top"),
    ("xblade-status", "xblade status\nxblade status --json"),
    ("xblade-stats", "xblade stats --json"),
    ("xblade-export", "xblade export add 0.3=/srv/disk.img\nxblade export remove 0.3"),
    ("xblade-export-remove", "xblade export remove 0.3"),
    ("xblade-export-recover", "xblade export recover 0.1 --reason 'disk replaced, data checked'"),
    ("xblade-export-resize", "xblade export resize 0.1"),
    ("xblade-export-read-only", "xblade export read-only 0.1\nxblade export read-only 0.1 --off"),
    ("xblade-reload", "xblade reload --dry-run\nxblade reload"),
    ("xblade-config-strings", "xblade config-strings\nxblade config-strings --clear 0.1"),
    ("xblade-reservations", "xblade reservations\nxblade reservations --clear 0.1 --refuse"),
    ("xblade-masks", "xblade masks\nxblade masks --clear 0.1"),
    ("xblade-import", "xblade import vblade"),
    ("xblade-import-vblade", "xblade import vblade --command 'vblade -r 0 1 eth0 /dev/vg/data'"),
    ("xblade-vblade", "xblade vblade 0 1 eth1 /srv/disk.img"),
    ("xblade-vbladed", "xblade-vbladed 0 1 eth1 /srv/disk.img\njournalctl -t vbladed"),
    (
        "xblade-bench",
        "xblade-bench discover --interface eth1\nxblade-bench load --interface eth1 --export 0.1",
    ),
    ("xblade-bench-discover", "xblade-bench discover --interface eth1"),
    ("xblade-bench-load", "xblade-bench load --interface eth1 --export 0.1"),
    ("xblade-bench-echo", "xblade-bench echo --interface eth1"),
    ("xblade-bench-compare", "xblade-bench compare --profile quick"),
    ("xblade-bench-report", "xblade-bench report result.json"),
];

/// Files of the programs that serve or ask.
const FILES: &[(&str, &str)] = &[
    ("/etc/xblade/xblade.toml", "The configuration of the service: xblade.toml(5)."),
    ("/run/xblade/xblade.sock", "The control socket."),
    ("/var/lib/xblade", "What hosts have set, and which data they have used at an address."),
    ("/usr/share/doc/xblade/examples", "A configuration, drop-ins, alert rules, a dashboard, a playbook."),
    ("/usr/share/doc/xblade/docs", "All documents, among them OPERATING.md."),
];

const BENCH_FILES: &[(&str, &str)] =
    &[("/usr/share/doc/xblade/docs/BENCHMARKING.md", "How to measure, and what the figures mean.")];

/// The exit status of a command whose help has none.
const CODES: &str = "0 done; 1 refused, or no answer in time; 2 wrong command line; 3 xblade cannot be reached: it \
                     does not run, or you may not use its control socket.";

const BENCH_CODES: &str =
    "0 done; 1 it could not run; 2 failed requests, wrong data, or a wrong command line.";

/// Writes the sections of the page `name`, whose help ends with `help`. `others` are the
/// pages of the commands above and below it.
pub fn sections(name: &str, help: &str, others: &[String]) -> String {
    let is_bench = name.starts_with("xblade-bench");
    let (mut notes, mut examples, mut codes, mut signals) = (Vec::new(), None, None, None);
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let headed = |heading: &str| paragraph.strip_prefix(heading).map(str::to_owned);
        match (headed("Examples:\n"), headed("Exit codes: "), headed("Signals: ")) {
            (Some(text), ..) => examples = Some(text),
            (_, Some(text), _) => codes = Some(text),
            (_, _, Some(text)) => signals = Some(text),
            _ => notes.push(paragraph),
        }
    }
    let known =
        || EXAMPLES.iter().find(|(command, _)| *command == name).map(|(_, lines)| (*lines).to_owned());
    let (files, usual) = if is_bench { (BENCH_FILES, BENCH_CODES) } else { (FILES, CODES) };
    let mut page = String::new();
    if !notes.is_empty() {
        page += ".SH NOTES\n";
        page.extend(notes.iter().map(|text| format!(".PP\n{}\n", lines(&escape(text)))));
    }
    page.extend(signals.map(|text| format!(".SH SIGNALS\n{}\n", lines(&escape(&text)))));
    page += ".SH FILES\n";
    page.extend(
        files.iter().map(|(path, what)| format!(".TP\n\\fI{}\\fR\n{}\n", escape(path), escape(what))),
    );
    page += &format!(".SH EXIT STATUS\n{}\n", lines(&escape(&codes.unwrap_or_else(|| usual.to_owned()))));
    if let Some(text) = examples.or_else(known) {
        let shown: Vec<_> = text.lines().map(|line| format!("\\&{}", escape(line))).collect();
        page += &format!(".SH EXAMPLES\n.EX\n{}\n.EE\n", shown.join("\n"));
    }
    let mut also = others.to_vec();
    if !is_bench {
        also.push("xblade.toml(5)".to_owned());
    }
    let also: Vec<_> = also.iter().map(|page| page.replacen('(', "\\fR(", 1)).collect();
    let also: Vec<_> = also.iter().map(|page| format!("\\fB{}", page.replace('-', "\\-"))).collect();
    page + &format!(".SH SEE ALSO\n{}\n", also.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use xblade::config::Cli;

    use super::*;

    #[test]
    fn what_the_help_ends_with_becomes_sections() {
        let help = "Examples:\n  One:\n      xblade top\n\nA note.\n\nExit codes: 0 done.\n\nSignals: SIGHUP reloads.";
        let page = sections("xblade-top", help, &["xblade(8)".to_owned()]);
        for part in [
            ".SH NOTES\n.PP\nA note.\n",
            ".SH SIGNALS\nSIGHUP reloads.\n",
            ".TP\n\\fI/run/xblade/xblade.sock\\fR\n",
            ".SH EXIT STATUS\n0 done.\n",
            ".EX\n\\&  One:\n\\&      xblade top\n.EE\n",
            ".SH SEE ALSO\n\\fBxblade\\fR(8), \\fBxblade.toml\\fR(5)\n",
        ] {
            assert!(page.contains(part), "{part:?} is not in:\n{page}");
        }
    }

    #[test]
    fn every_example_is_a_command_line() {
        let lines = EXAMPLES.iter().flat_map(|(_, lines)| lines.lines());
        for line in
            lines.filter(|line| !line.starts_with("journalctl") && !line.starts_with("xblade-vbladed"))
        {
            let words = shlex::split(line).unwrap_or_default();
            let outcome = match line.starts_with("xblade-bench") {
                true => xblade_bench::command().try_get_matches_from(words).map(drop),
                false => Cli::try_parse_from(words).map(drop),
            };
            assert!(outcome.is_ok(), "{line}: {outcome:?}");
        }
    }
}
