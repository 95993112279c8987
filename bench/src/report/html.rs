//! The report as one self-contained HTML file: no network access, no scripts. It is also
//! well-formed XML.

use super::document::label;
use super::{Document, Section, Table, plots, text};

const STYLE: &str = include_str!("style.css");
/// How to read the report; shown at the end.
const READING: &str = "Rates are those of requests that were answered well. Response times have three significant \
    digits, and requests that were never answered are among them, with the time that they waited in vain. In an open \
    loop they count from the time at which a request was meant to be sent, in a closed loop from the time at which it \
    was sent first (\u{201c}sent\u{201d}: always from then). 1 MB is 10⁶ bytes. The same figures are in result.json, \
    and the distributions in the .hgrm and .hlog files of HdrHistogram beside this file.";

/// The whole report.
pub fn html(document: &Document) -> String {
    let title = escape(&document.title);
    let sections: String = document.sections.iter().map(of_section).collect();
    let titled = |before: &str, text: String| if text.is_empty() { text } else { before.to_owned() + &text };
    let verdict = titled("<p class=\"verdict\">", escape(&document.verdict));
    let verdict = if verdict.is_empty() { verdict } else { verdict + "</p>\n" };
    let conditions = titled("<h2>Conditions</h2>\n", list("conditions", &document.conditions));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{verdict}{}{sections}{conditions}\
         <footer>{READING}</footer>\n</main>\n</body>\n</html>\n",
        list("suspect", &document.warnings)
    )
}

/// A table, plots, and the text of each outcome to unfold.
fn of_section(section: &Section) -> String {
    let mut out = format!("<h2>{}</h2>\n{}", escape(&section.title), table(&section.shown()));
    out += &list("suspect", section.warnings());
    let plots: String = plots::plots(section).map(|(_, svg)| format!("<figure>{svg}</figure>\n")).collect();
    if !plots.is_empty() {
        out += &format!("<div class=\"plots\">\n{plots}</div>\n");
    }
    for outcome in &section.outcomes {
        out += &format!(
            "<details>\n<summary>{}</summary>\n<pre>{}</pre>\n{}</details>\n",
            escape(&label(outcome)),
            escape(&text(outcome)),
            list("conditions", &outcome.conditions)
        );
    }
    out
}

fn list(class: &str, items: impl IntoIterator<Item: ToString>) -> String {
    let item = |item: _| format!("<li>{}</li>\n", escape(&ToString::to_string(&item)));
    let items: String = items.into_iter().map(item).collect();
    if items.is_empty() { items } else { format!("<ul class=\"{class}\">\n{items}</ul>\n") }
}

fn table(table: &Table) -> String {
    let row = |cells: &Vec<String>| {
        // A range goes below its figure: so the table is as narrow as can be.
        let cell = |cell: &String| format!("<td>{}</td>", escape(cell).replace(" (", "<br/>("));
        let cells: String = cells.iter().map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        row(&table.head)
    )
}

/// Escapes text for the content of elements. XML cannot represent control characters.
pub fn escape(text: &str) -> String {
    let text = text.replace(|c: char| (c.is_control() && c != '\n') || c >= '\u{fffe}', "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
