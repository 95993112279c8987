//! Writes the manual pages of xblade and xblade-bench and their shell completions to a
//! folder: `xblade-manual FOLDER`. They are generated from the definitions of the command
//! lines and from docs/CONFIGURATION.md.

mod page;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use xblade::config::Cli;

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
        pages(&command, section, folder)?;
    }
    let text = page::from_markdown("xblade.toml", "5", "what xblade serves, and how", CONFIGURATION);
    fs::write(folder.join("xblade.toml.5"), text)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Cli::command(), "xblade", folder)?;
        clap_complete::generate_to(shell, &mut xblade_bench::command(), "xblade-bench", folder)?;
    }
    Ok(())
}

/// Writes a page for a command, and for each of its subcommands.
fn pages(command: &Command, section: &str, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = Vec::new();
    // NAME must contain the name of the page, by which `man` finds it.
    let named = command.clone().name(&*String::leak(name.clone()));
    clap_mangen::Man::new(named).title(name.to_uppercase()).section(section).render(&mut text)?;
    let path = folder.join(format!("{name}.{section}"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .try_for_each(|sub| pages(sub, section, folder))
}
