//! Writes the manual pages of xblade and xblade-bench, and the shell completions,
//! into a folder: `xblade-manual FOLDER`. What they say comes from the command
//! lines' own definitions, and from docs/CONFIGURATION.md.

mod page;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use xblade::config::Cli;

/// What `xblade.toml(5)` is made of.
const CONFIGURATION: &str = include_str!("../../../docs/CONFIGURATION.md");

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else { bail!("usage: xblade-manual FOLDER") };
    let folder = Path::new(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Sections as in the folders where the programs are: sbin and bin.
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

/// A page for a command, and for each of its own.
fn pages(command: &Command, section: &str, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut text = Vec::new();
    // Under NAME it has to be the name of the page, which `man` finds it by.
    let named = command.clone().name(&*String::leak(name.clone()));
    clap_mangen::Man::new(named).title(name.to_uppercase()).section(section).render(&mut text)?;
    let path = folder.join(format!("{name}.{section}"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .try_for_each(|sub| pages(sub, section, folder))
}
