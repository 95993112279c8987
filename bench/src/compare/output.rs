//! Outputs of a comparison: the terminal, the report, and requested files.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::CompareArgs;
use crate::report::{self, Document};

use super::shell;

/// Prints the result and writes the report.
pub fn write(args: &CompareArgs, profile: &str, document: &Document) -> Result<()> {
    let text = markdown(document);
    print!("{text}");
    let directory = args.report.clone().unwrap_or_else(|| usual(profile));
    let mut files = report::write_all(document, &directory)?;
    if let Some(file) = &args.markdown {
        store(file, &text)?;
        files.push(file.clone());
    }
    if let Some(file) = &args.json {
        store(file, &(report::result::of_document(document)?.to_string() + "\n"))?;
        files.push(file.clone());
    }
    let listed = directory.join("files.txt");
    give_back(files.iter().chain([&listed, &directory]));
    println!("\nreport: {}", shown(&directory).display());
    Ok(())
}

/// The tables, with conditions and warnings.
fn markdown(document: &Document) -> String {
    let mut out = String::from("Conditions:\n\n");
    out.extend(document.conditions.iter().map(|c| format!("* {}: {}\n", c.name, c.value)));
    out.extend(document.warnings.iter().map(|text| format!("* **{text}**\n")));
    for section in &document.sections {
        out += &format!("\n{}\n", section.title);
        out.extend(section.table.iter().map(|table| format!("\n{}", table.markdown())));
        if !section.warnings.is_empty() {
            out += &format!("\n**Suspect**: {}.\n", section.warnings.join("; "));
        }
    }
    out
}

fn store(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A new directory, named after the profile and the time.
fn usual(profile: &str) -> PathBuf {
    let time = shell::run(&["date", "+%Y%m%d-%H%M%S"]).unwrap_or_default();
    PathBuf::from(format!("xblade-report-{profile}-{}", time.trim()))
}

/// The file to open in a browser, if it exists.
fn shown(directory: &Path) -> PathBuf {
    let html = ["index.html", "report.html"].map(|name| directory.join(name));
    let path = html.into_iter().find(|path| path.exists()).unwrap_or_else(|| directory.to_owned());
    std::fs::canonicalize(&path).unwrap_or(path)
}

/// Under sudo, gives the files to the user.
fn give_back<'a>(paths: impl Iterator<Item = &'a PathBuf>) {
    let id = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    for path in paths {
        let _ = chown(path, Some(user), Some(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::condition;
    use crate::report::{Section, Table};

    #[test]
    fn tables_come_with_conditions_and_with_what_is_suspect() {
        let mut table = Table::new(["target"]);
        table.row(["echo".to_owned()]);
        let section = Section {
            title: "a case".to_owned(),
            table: Some(table),
            warnings: vec!["echo: slow".to_owned()],
            ..Section::default()
        };
        let document = Document {
            conditions: vec![condition("kernel", "6")],
            warnings: vec!["preliminary".to_owned()],
            sections: vec![section],
            ..Document::default()
        };
        let expected = "Conditions:\n\n* kernel: 6\n* **preliminary**\n\na case\n\n| target |\n| ------ |\n| echo   |\n\
                        \n**Suspect**: echo: slow.\n";
        assert_eq!(markdown(&document), expected);
    }
}
