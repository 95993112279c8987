//! Migration from vblade: its arguments, the files of its service, and a configuration
//! made from them.

mod args;
mod files;
mod import;
mod order;
mod shell;

pub use args::Vblade;
pub use import::{Imported, import};

/// Quotes words for a shell, without quotes that only hurt readability (shlex would quote
/// each `=`). `None` if a word contains a NUL.
pub fn for_a_shell(words: &[String]) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    let quoted = |word: &String| match word.is_empty() || !word.chars().all(is_plain) {
        true => shlex::try_quote(word).ok().map(std::borrow::Cow::into_owned),
        false => Some(word.clone()),
    };
    words.iter().map(quoted).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
}
