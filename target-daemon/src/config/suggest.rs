//! What was probably meant.

use crate::wire::ether::Mac;

/// What belongs to the known word closest to this one, if one is close enough.
pub fn suggest<'a, T>(word: &str, known: impl IntoIterator<Item = (&'a str, T)>) -> Option<T> {
    let near = known.into_iter().map(|(known, of)| (strsim::jaro_winkler(word, known), of));
    near.filter(|(near, _)| *near > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, of)| of)
}

/// The MAC address that 12 hex digits stand for, whatever separates them.
pub fn mac_of_digits(text: &str) -> Option<Mac> {
    let digits: Vec<char> = text.chars().filter(|c| !"-.:".contains(*c)).collect();
    let pairs: Vec<String> = digits.chunks(2).map(String::from_iter).collect();
    pairs.join(":").parse().ok()
}

/// A word in our spelling.
pub fn plain(word: &str) -> String {
    word.replace('_', "-").to_lowercase()
}
