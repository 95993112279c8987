//! The report as one self-contained HTML file: no network access, no scripts. It is also
//! well-formed XML.

use crate::outcome::Condition;

use super::facts::{facts, started};
use super::svg::plots;
use super::{Document, Section, Table, overview};

const STYLE: &str = include_str!("style.css");
/// Details are folded if there are more outcomes than this.
const UNFOLDED_MAX: usize = 3;

/// The whole report.
pub fn html(document: &Document) -> String {
    let title = if document.title.is_empty() { "xblade-bench" } else { &document.title };
    let title = escape(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}",
        made_by(document)
    );
    out += &list(&document.conditions);
    out += &suspect(&document.warnings);
    out += &contents(document);
    let mut figures = 0;
    let outcomes = document.sections.iter().map(|section| section.outcomes.len()).sum::<usize>();
    for (at, section) in document.sections.iter().enumerate() {
        out += &of_section(at, section, &document.title_of(at), &mut figures);
        out += &details(section, document, outcomes <= UNFOLDED_MAX);
    }
    out += &format!("<footer>{}</footer>\n", READING);
    out + "</main>\n</body>\n</html>\n"
}

/// How to read the report; shown at the end.
const READING: &str = "Rates are those of requests that were answered well. Response times have three significant \
    digits, and requests that were never answered are among them, with the time that they waited in vain. In an open \
    loop they count from the time at which a request was meant to be sent, in a closed loop from the time at which it \
    was sent first. 1 MB is 10⁶ bytes. The same figures are in result.json (also in the shape \
    of fio’s output), and the distributions in the .hgrm and .hlog files of HdrHistogram beside this file.";

fn of_section(at: usize, section: &Section, title: &str, figures: &mut usize) -> String {
    let mut out = format!("<section id=\"s{at}\">\n");
    if !title.is_empty() {
        out += &format!("<h2>{}</h2>\n", escape(title));
    }
    out += &table(&overview::of_section(section));
    out += &suspect(&section.all_warnings());
    let open = section.outcomes.len() > 1 && section.outcomes.iter().any(|one| one.setup.rate.is_some());
    for (name, svg) in plots(title, &section.outcomes) {
        *figures += 1;
        let caption = match name {
            "percentiles" if open => {
                PERCENTILES.replace(", by", ", from the time at which they were meant to be sent, by")
            }
            "percentiles" => PERCENTILES.to_owned(),
            "throughput" => "Requests answered a second, over time.".to_owned(),
            _ => "99th percentile of response times in each interval, over time.".to_owned(),
        };
        out += &format!(
            "<figure>\n<div class=\"scroll\">{svg}</div>\n<figcaption>Figure {figures}. {caption}</figcaption>\n</figure>\n"
        );
    }
    out + "</section>\n"
}

const PERCENTILES: &str = "Response time of requests, by percentile. A point at 99 % is the time within which 99 of \
    100 requests were answered; curves end at the slowest.";

/// A foldable block with the details of each outcome.
fn details(section: &Section, document: &Document, open: bool) -> String {
    if section.outcomes.is_empty() {
        return String::new();
    }
    let state = if open { " open=\"open\"" } else { "" };
    let mut out = "<div class=\"details\">\n".to_owned();
    for (name, outcome) in section.named() {
        out += &format!(
            "<details{state}>\n<summary>{}</summary>\n{}{}</details>\n",
            escape(&name),
            table(&overview::times(outcome)),
            list(&facts(outcome, &document.conditions))
        );
    }
    out + "</div>\n"
}

/// A table of contents for long reports.
fn contents(document: &Document) -> String {
    if document.sections.len() < 3 {
        return String::new();
    }
    let item = |(at, section): (usize, &Section)| {
        format!("<li><a href=\"#s{at}\">{}</a></li>\n", escape(&section.title))
    };
    let items: String = document.sections.iter().enumerate().map(item).collect();
    format!("<nav>\n<ol>\n{items}</ol>\n</nav>\n")
}

fn made_by(document: &Document) -> String {
    let mut outcomes = document.sections.iter().flat_map(|section| &section.outcomes);
    let Some(first) = outcomes.next() else { return String::new() };
    let started =
        started(outcomes.chain([first]).min_by_key(|outcome| outcome.started_unix_ms).unwrap_or(first));
    let when = if started.is_empty() { String::new() } else { format!(", {started}") };
    format!("<p class=\"by\">Measured by xblade-bench {}{}</p>\n", escape(&first.version), escape(&when))
}

/// Names and values. Items without a name form a plain list.
fn list(items: &[Condition]) -> String {
    let (mut named, mut plain) = (String::new(), String::new());
    for Condition { name, value } in items {
        if name.is_empty() {
            plain += &format!("<li>{}</li>\n", escape(value));
        } else {
            named += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
        }
    }
    let wrapped = |open: &str, items: String, close: &str| {
        if items.is_empty() { items } else { format!("<{open}>\n{items}</{close}>\n") }
    };
    wrapped("dl", named, "dl") + &wrapped("ul class=\"plain\"", plain, "ul")
}

fn suspect(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let items: String = warnings.iter().map(|warning| format!("<li>{}</li>\n", escape(warning))).collect();
    format!("<aside>\n<p>Suspect</p>\n<ul>\n{items}</ul>\n</aside>\n")
}

fn table(table: &Table) -> String {
    // The unit goes below the heading.
    let heading = |cell: &String| match cell.rsplit_once(' ') {
        Some((name, unit)) => format!("<th scope=\"col\">{}<br/>{}</th>", escape(name), escape(unit)),
        None => format!("<th scope=\"col\">{}</th>", escape(cell)),
    };
    let head: String = table.head.iter().map(heading).collect();
    let row = |row: &Vec<String>| {
        let cell = |(at, cell): (usize, &String)| {
            let cell = escape(cell);
            if at == 0 { format!("<th scope=\"row\">{cell}</th>") } else { format!("<td>{cell}</td>") }
        };
        let cells: String = row.iter().take(table.head.len()).enumerate().map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Escapes text for element content and attribute values.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(' '),
            // XML cannot represent these.
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}
