//! Writes families and samples, as OpenMetrics or as the older text format of
//! Prometheus.

use std::fmt::{Display, Write as _};

use super::buckets::Buckets;
use super::family::{Family, Kind};

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Format {
    /// The value of the header Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A text under construction.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// Begins a family. All its samples come before the next one begins.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        // In the old format a family has the name of its samples, and no info.
        let (name, kind) = match (self.format, family.kind) {
            (Format::OpenMetrics, kind) => (family.name.to_owned(), kind),
            (Format::Prometheus, Kind::Info) => (family.queried(), Kind::Gauge),
            (Format::Prometheus, kind) => (family.queried(), kind),
        };
        line(&mut self.text, format_args!("# HELP {name} {}", Escaped(family.help)));
        line(&mut self.text, format_args!("# TYPE {name} {}", kind.name()));
        if self.format == Format::OpenMetrics && !family.unit.is_empty() {
            line(&mut self.text, format_args!("# UNIT {name} {}", family.unit));
        }
        Samples { text: &mut self.text, family }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Takes the samples of one family.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Samples<'_> {
    /// One value. Labels whose value is empty are left out, which means the same.
    pub fn value(&mut self, labels: &[&str], value: impl Display) -> &mut Self {
        let name = self.family.queried();
        self.sample(&name, labels, None, value)
    }

    /// One histogram.
    pub fn histogram(&mut self, labels: &[&str], buckets: &Buckets) -> &mut Self {
        let name = self.family.name;
        let bucket = format!("{name}_bucket");
        for (le, count) in buckets.buckets() {
            self.sample(&bucket, labels, Some(le), count);
        }
        self.sample(&format!("{name}_sum"), labels, None, buckets.sum_seconds());
        self.sample(&format!("{name}_count"), labels, None, buckets.count())
    }

    fn sample(&mut self, name: &str, labels: &[&str], le: Option<&str>, value: impl Display) -> &mut Self {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{name}");
        self.text.push_str(name);
        let names = self.family.labels.iter().copied();
        let all = names.zip(labels.iter().copied()).chain(le.map(|le| ("le", le)));
        let mut before = '{';
        for (label, value) in all.filter(|(_, value)| !value.is_empty()) {
            // Writing to a String cannot fail, here and below.
            let _ = write!(self.text, "{before}{label}=\"{}\"", Escaped(value));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        line(self.text, format_args!(" {value}"));
        self
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
    text.push('\n');
}

/// A label's value or a help text between its delimiters. Both formats escape
/// alike, but for quotation marks in help texts, which have none.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::{EXPORT, INTERFACE_MTU, REQUESTS};
    use super::*;

    fn written(format: Format, family: &'static Family, labels: &[&str]) -> String {
        let mut to = Exposition::new(format);
        to.family(family).value(labels, 1500);
        to.finish()
    }

    #[test]
    fn label_values_are_escaped() {
        let labels = ["0.1", "/srv/\"a\"\\b\nc\u{e9}", "", "", "", "0"];
        let text = written(Format::OpenMetrics, &EXPORT, &labels);
        let sample = r#"xblade_export_info{export="0.1",path="/srv/\"a\"\\b\ncé",worker="0"} 1500"#;
        assert!(text.lines().any(|line| line == sample), "{text}");
    }

    #[test]
    fn the_formats_differ_in_names_units_and_end() {
        let text = written(Format::OpenMetrics, &INTERFACE_MTU, &["eth1"]);
        assert!(text.contains("# UNIT xblade_interface_mtu_bytes bytes\n"), "{text}");
        assert!(text.ends_with("xblade_interface_mtu_bytes{interface=\"eth1\"} 1500\n# EOF\n"), "{text}");
        let text = written(Format::Prometheus, &INTERFACE_MTU, &["eth1"]);
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
        let (old, new) = (Format::Prometheus, Format::OpenMetrics);
        for (format, family, head) in [
            (new, &REQUESTS, "# TYPE xblade_export_requests counter\n"),
            (old, &REQUESTS, "# TYPE xblade_export_requests_total counter\n"),
            (new, &EXPORT, "# TYPE xblade_export info\n"),
            (old, &EXPORT, "# TYPE xblade_export_info gauge\n"),
        ] {
            let text = written(format, family, family.labels);
            assert!(text.contains(head), "{text}");
            assert!(text.contains(&format!("\n{}{{", family.queried())), "{text}");
        }
    }
}
