//! Files that start vblade, and calls of it, divided by zero bytes: the first is a file, the others
//! are calls. The configuration made of them is TOML.

use xblade::config;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let file = parts.next().map(|text| ("rc.local".to_owned(), text.to_owned()));
    let calls: Vec<String> = parts.map(str::to_owned).collect();
    let imported = config::import_texts(file, &calls);
    let is_forged = |line: &String| line.contains(char::is_control);
    assert!(!imported.remarks.iter().any(is_forged), "{:?}", imported.remarks);
    let told = config::parse("imported", &imported.text, "").faults.to_string();
    // Said at the end where the text could not be parsed.
    assert!(!told.ends_with("others may show when these are corrected"), "{told}\n{}", imported.text);
}
