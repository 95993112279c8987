//! Splits shell lines just well enough to find calls in them: words, operators between
//! commands, and redirections.

use std::ops::Range;

/// A token of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// A word without its quotes; `None` for an operator or redirection.
    pub word: Option<String>,
    /// Its location in the line.
    pub at: Range<usize>,
}

/// The tokens of a line, without its comment; `None` if a quote is not closed.
pub fn tokens(line: &str) -> Option<Vec<Token>> {
    let mut reader = Reader { line, at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        reader.skip(char::is_whitespace);
        let start = reader.at;
        let Some(next) = reader.peek() else { return Some(tokens) };
        if next == '#' {
            return Some(tokens);
        }
        let word = if reader.redirects() {
            reader.redirection()?;
            None
        } else if is_operator(next) {
            reader.at += next.len_utf8();
            None
        } else {
            Some(reader.word()?)
        };
        tokens.push(Token { word, at: start..reader.at });
    }
}

fn is_operator(c: char) -> bool {
    ";&|()<>".contains(c)
}

struct Reader<'a> {
    line: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_skipped) {
            self.next();
        }
    }

    /// Whether a redirection such as `>`, `2>` or `&>` begins here.
    fn redirects(&self) -> bool {
        let rest = self.rest().trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with(['<', '>']) || self.rest().starts_with("&>")
    }

    /// Skips a redirection with its target, which is a file or a descriptor.
    fn redirection(&mut self) -> Option<()> {
        self.skip(|c| c.is_ascii_digit() || c == '&');
        self.skip(|c| "<>".contains(c));
        let to_descriptor = self.peek() == Some('&');
        self.skip(|c| "&|".contains(c));
        if to_descriptor && self.peek().is_some_and(|c| c.is_ascii_digit() || c == '-') {
            self.skip(|c| c.is_ascii_digit() || c == '-');
            return Some(());
        }
        self.skip(char::is_whitespace);
        if self.peek().is_some_and(|c| !is_operator(c)) {
            self.word()?;
        }
        Some(())
    }

    /// Reads a word; `None` if a quote in it is not closed.
    fn word(&mut self) -> Option<String> {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| !c.is_whitespace() && !is_operator(*c)) {
            self.next();
            match c {
                '\'' => word.push_str(&self.until('\'')?),
                '"' => loop {
                    match self.next()? {
                        '"' => break,
                        '\\' => match self.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                },
                '\\' => word.push(self.next()?),
                // A command substitution is part of the word and is not parsed.
                '`' => word.push_str(&format!("`{}`", self.until('`')?)),
                '$' if self.peek() == Some('(') => word.push_str(&format!("${}", self.parentheses()?)),
                c => word.push(c),
            }
        }
        Some(word)
    }

    fn until(&mut self, end: char) -> Option<String> {
        let (text, _) = self.rest().split_once(end)?;
        let text = text.to_owned();
        self.at += text.len() + end.len_utf8();
        Some(text)
    }

    /// The text in parentheses, including them.
    fn parentheses(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut depth = 0;
        loop {
            let c = self.next()?;
            text.push(c);
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                return Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words, and the operators in angle brackets.
    fn told(line: &str) -> Vec<String> {
        let one = |token: Token| match token.word {
            Some(word) => word,
            None => format!("<{}>", &line[token.at]),
        };
        tokens(line).unwrap().into_iter().map(one).collect()
    }

    #[test]
    fn a_line_becomes_words_and_what_is_between() {
        let rows: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("a 'b c' \"d \\\"e\\\" \\f\" g\\ h # i", &["a", "b c", "d \"e\" \\f", "g h"]),
            ("a;b&&c", &["a", "<;>", "b", "<&>", "<&>", "c"]),
            ("(a b)", &["<(>", "a", "b", "<)>"]),
            ("{ a; }", &["{", "a", "<;>", "}"]),
            ("a >/x/y 2>&1 <z &", &["a", "<>/x/y>", "<2>&1>", "<<z>", "<&>"]),
            ("a &>x b2>c", &["a", "<&>x>", "b2", "<>c>"]),
            ("a $(b (c) d)e `f g` $h", &["a", "$(b (c) d)e", "`f g`", "$h"]),
            ("a'b'\"c\"", &["abc"]),
            ("a#b", &["a#b"]),
            ("é|ü", &["é", "<|>", "ü"]),
            ("a 2 3>4 2>&1 b", &["a", "2", "<3>4>", "<2>&1>", "b"]),
        ];
        for (line, expected) in rows {
            assert_eq!(told(line), expected, "{line}");
        }
        for open in ["a 'b", "a \"b", "`", "$(a", "\"\\", "a\\"] {
            assert_eq!(tokens(open), None, "{open}");
        }
    }
}
