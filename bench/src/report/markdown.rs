//! A report as Markdown: conditions, warnings and tables.

use super::table::one_line;
use super::{Document, overview};

/// The whole report without plots.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n", one_line(&document.title));
    if !document.conditions.is_empty() {
        out += "\nConditions:\n\n";
        out.extend(
            document.conditions.iter().map(|c| format!("* {}\n", one_line(&named(&c.name, &c.value)))),
        );
    }
    out += &suspect(&document.warnings);
    for (at, section) in document.sections.iter().enumerate() {
        let title = document.title_of(at);
        if !title.is_empty() {
            out += &format!("\n## {}\n", one_line(&title));
        }
        out += &format!("\n{}", overview::of_section(section).markdown());
        out += &suspect(&section.all_warnings());
    }
    out
}

/// A condition, which may have no name.
fn named(name: &str, value: &str) -> String {
    if name.is_empty() { value.to_owned() } else { format!("{name}: {value}") }
}

fn suspect(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let items: String = warnings.iter().map(|warning| format!("* {}\n", one_line(warning))).collect();
    format!("\n**Suspect:**\n\n{items}")
}
