//! Makes a manual page from a chapter of the documentation.

use std::mem::take;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, TagEnd};

/// Makes the page. The heading of the chapter is left out; the name replaces it. Links become
/// their text, and rows of a table become entries.
pub fn from_markdown(name: &str, section: &str, what: &str, text: &str) -> String {
    let title = name.to_uppercase();
    let mut page =
        format!(".TH {title} {section}\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n", escape(name), escape(what));
    // The text of what is open, and the cells of its row and of the first row.
    let mut open = String::new();
    let (mut cells, mut head) = (Vec::new(), Vec::new());
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Text(text) => open += &escape(&text),
            Event::Code(code) => open += &format!("\\fB{}\\fR", escape(&code)),
            Event::SoftBreak => open.push('\n'),
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => open.clear(),
            Event::End(TagEnd::Heading(_)) => {
                let plain = take(&mut open).replace("\\fB", "").replace("\\fR", "");
                page += &format!(".SH \"{}\"\n", plain.to_uppercase());
            }
            Event::End(TagEnd::Paragraph) => page += &format!(".PP\n{}\n", lines(&take(&mut open))),
            Event::End(TagEnd::Item) => page += &format!(".IP \\(bu 2\n{}\n", lines(&take(&mut open))),
            Event::End(TagEnd::CodeBlock) => {
                page += &format!(
                    ".PP\n.RS 4\n.EX\n\\&{}\n.EE\n.RE\n",
                    take(&mut open).trim_end().replace('\n', "\n\\&")
                );
            }
            Event::End(TagEnd::TableCell) => cells.push(lines(&take(&mut open))),
            Event::End(TagEnd::TableHead) => head = take(&mut cells),
            Event::End(TagEnd::TableRow) => page += &entry(&head, &take(&mut cells)),
            _ => {}
        }
    }
    page
}

/// Turns a row into an entry: the first cell, then the others with their headings.
fn entry(head: &[String], row: &[String]) -> String {
    let cells = head.iter().zip(row).enumerate().filter(|(_, (_, cell))| !cell.is_empty());
    let line = |(at, (heading, cell)): (usize, (&String, &String))| match at {
        0 => format!(".TP\n{cell}\n"),
        _ if at + 1 == row.len() && at > 1 => format!("{cell}\n"),
        _ => format!("{heading}: {cell}.\n"),
    };
    cells.map(line).collect()
}

/// A dot or quote at the start of a line would be a troff request.
pub fn lines(text: &str) -> String {
    let line =
        |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The text in troff.
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\u{a0}', "\\~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_chapters_use_is_understood() {
        let text = "# Title\n\n## `[service]`\n\nSee [the `x` key](X.md#x), \"a\".\n\n```toml\n.x = 'a'\n```\n\n\
            | key | type | meaning |\n|---|---|---|\n| `a-b` | text | Says [what](Y.md) |\n| c | | d |\n- one\n";
        let page = from_markdown("x.toml", "5", "what", text);
        for part in [
            ".TH X.TOML 5\n",
            "x.toml \\- what\n",
            ".SH \"[SERVICE]\"\n",
            "See the \\fBx\\fR key, \"a\".\n",
            ".EX\n\\&.x = 'a'\n.EE\n",
            ".TP\n\\fBa\\-b\\fR\ntype: text.\nSays what\n",
            ".TP\nc\nd\n",
            ".IP \\(bu 2\none\n",
        ] {
            assert!(page.contains(part), "{part:?} is not in:\n{page}");
        }
        assert!(!page.contains("Title"));
    }
}
