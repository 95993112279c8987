//! Writes the manual pages of xblade and xblade-bench and their shell completions to a
//! folder: `xblade-manual FOLDER`. They are generated from the definitions of the command
//! lines and from docs/CONFIGURATION.md.

mod page;
mod tail;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use xblade::config::Cli;

/// Its comment is the source of `xblade-vbladed(8)`.
const VBLADED: &str = include_str!("../../vbladed");

const VBLADED_CODES: &str = "Exit codes: 0 hosts can use the export, or could if the link were up; else that of xblade: see \
                             xblade-serve(8).";

/// The source of `xblade.toml(5)`.
const CONFIGURATION: &str = include_str!("../../../docs/CONFIGURATION.md");

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else { bail!("usage: xblade-manual FOLDER") };
    let folder = Path::new(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The sections match the folders of the programs, sbin and bin.
    for (command, section) in [(Cli::command(), "8"), (xblade_bench::command(), "1")] {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        pages(&command, section, &[], folder)?;
    }
    let comment = VBLADED.lines().skip(1).map_while(|line| line.strip_prefix('#')).map(str::trim);
    let comment: Vec<_> = comment.collect();
    let mut text = page::from_markdown(
        "xblade-vbladed",
        "8",
        "serve like vblade, in the background",
        &comment.join("\n"),
    );
    text += &tail::sections("xblade-vbladed", VBLADED_CODES, &["xblade-vblade(8)".to_owned()]);
    fs::write(folder.join("xblade-vbladed.8"), text)?;
    let text = page::from_markdown("xblade.toml", "5", "what xblade serves, and how", CONFIGURATION);
    fs::write(
        folder.join("xblade.toml.5"),
        text + ".SH FILES\n\\fI/etc/xblade/xblade.toml\\fR\n.SH SEE ALSO\n\\fBxblade\\fR(8), \\fBxblade\\-check\\fR(8)\n",
    )?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Cli::command(), "xblade", folder)?;
        clap_complete::generate_to(shell, &mut xblade_bench::command(), "xblade-bench", folder)?;
    }
    Ok(())
}

/// Writes a page for a command, and for each of its subcommands. `above` are the pages of the
/// commands that it belongs to.
fn pages(command: &Command, section: &str, above: &[String], folder: &Path) -> Result<()> {
    let name = page_of(command);
    // NAME must contain the name of the page, by which `man` finds it.
    let named = command.clone().name(&*String::leak(name.clone()));
    let man = clap_mangen::Man::new(named).title(name.to_uppercase()).section(section);
    let below: Vec<_> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").collect();
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if !below.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let pages_below = below.iter().map(|sub| format!("{}({section})", page_of(sub)));
    let others: Vec<_> = above.iter().cloned().chain(pages_below).collect();
    text.extend(tail::sections(&name, &help, &others).into_bytes());
    let path = folder.join(format!("{name}.{section}"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let above = [above, &[format!("{name}({section})")]].concat();
    below.into_iter().try_for_each(|sub| pages(sub, section, &above, folder))
}

/// The name of the page of a command.
fn page_of(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}
