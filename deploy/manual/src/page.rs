//! Makes a manual page from a chapter of the documentation. Supports only the Markdown
//! that our chapters use.

/// Makes the page. The heading of the chapter is left out; the name replaces it.
pub fn from_markdown(name: &str, section: &str, what: &str, text: &str) -> String {
    let title = name.to_uppercase();
    let mut page =
        format!(".TH {title} {section}\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n", escape(name), escape(what));
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") || line.starts_with("    ") {
            let fenced = line.starts_with("```");
            page += ".PP\n.RS 4\n.EX\n";
            if !fenced {
                page += &verbatim(line);
            }
            while let Some(next) = lines.next_if(|next| fenced || next.starts_with("    ")) {
                if fenced && next.starts_with("```") {
                    break;
                }
                page += &verbatim(next);
            }
            page += ".EE\n.RE\n";
        } else if line.starts_with('|') {
            let head = cells(line);
            // The line of dashes below it.
            lines.next();
            while let Some(row) = lines.next_if(|row| row.starts_with('|')) {
                page += &table_row(&head, &cells(row));
            }
        } else if let Some(heading) = line.strip_prefix("## ") {
            page += &format!(
                ".SH \"{}\"\n",
                inline(heading).to_uppercase().replace("\\FB", "").replace("\\FR", "")
            );
        } else if line.starts_with("# ") {
        } else if let Some(item) = line.strip_prefix("- ") {
            page += &format!(".IP \\(bu 2\n{}\n", inline(item));
        } else if line.is_empty() {
            page += ".PP\n";
        } else {
            page += &format!("{}\n", inline(line.trim_start()));
        }
    }
    page
}

/// Turns a row into an entry: the first cell, then the others with their headings.
fn table_row(head: &[String], row: &[String]) -> String {
    let mut entry = String::new();
    for (at, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let heading = head.get(at).map_or("", String::as_str);
        entry += &match at {
            0 => format!(".TP\n{}\n", inline(cell)),
            _ if at + 1 == row.len() && at > 1 => format!("{}\n", inline(cell)),
            _ => format!("{}: {}.\n", inline(heading), inline(cell)),
        };
    }
    entry
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect()
}

/// Turns code into bold, and links into their text.
fn inline(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let link = rest[open..].find("](").and_then(|mid| {
            let end = rest[open + mid..].find(')')?;
            (!rest[open + 1..open + mid].contains('[') || rest[open + 1..].starts_with('`'))
                .then_some((open + mid, open + mid + end + 1))
        });
        let Some((words_end, end)) = link else { break };
        plain += &rest[..open];
        plain += &rest[open + 1..words_end];
        rest = &rest[end..];
    }
    plain += rest;
    let plain = plain.replace("**", "");
    let parts = plain.split('`').enumerate();
    let bold =
        parts.map(|(at, part)| if at % 2 == 1 { format!("\\fB{}\\fR", escape(part)) } else { escape(part) });
    let text: String = bold.collect();
    // A dot or quote at the start of a line would be a troff request.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn verbatim(line: &str) -> String {
    format!("\\&{}\n", escape(line.strip_prefix("    ").unwrap_or(line)))
}

fn escape(text: &str) -> String {
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
