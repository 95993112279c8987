//! The counters that the program reports.

/// Counters of a report: section, name, value.
#[derive(Debug)]
pub struct Report(Vec<(String, String, u64)>);

impl Report {
    pub(crate) fn parse(lines: &[String]) -> Self {
        let mut section = String::new();
        let mut rows = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [name, value] if line.starts_with("  ") => {
                    if let Ok(value) = value.parse() {
                        rows.push((section.clone(), (*name).to_owned(), value));
                    }
                }
                _ if !line.starts_with(' ') => section = line.clone(),
                _ => {}
            }
        }
        Self(rows)
    }

    /// A counter, summed over all sections.
    pub fn sum(&self, name: &str) -> u64 {
        self.rows("", name).map(|(_, _, value)| value).sum()
    }

    /// A counter in the sections whose heading contains `section`, one by one.
    pub fn each(&self, section: &str, name: &str) -> Vec<u64> {
        self.rows(section, name).map(|(_, _, value)| *value).collect()
    }

    fn rows<'a>(
        &'a self,
        section: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a (String, String, u64)> {
        self.0.iter().filter(move |row| row.0.contains(section) && row.1 == name)
    }

    /// Checks that nothing happened that must never happen.
    pub fn assert_sound(&self) {
        let never = ["unsendable", "stale_completions", "imbalances", "bad_descriptors", "bad_completions"];
        for name in never.into_iter().chain(["kernel_rx_invalid", "kernel_tx_invalid", "no_socket"]) {
            assert_eq!(self.sum(name), 0, "{name}: {self:?}");
        }
    }
}
