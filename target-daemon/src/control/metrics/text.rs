//! Writes families and samples as OpenMetrics, or in the older Prometheus text format.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};

use super::buckets::{cumulative, sum_seconds};
use super::{FAMILIES, Family, Kind};
use crate::observe::Distribution;

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The Prometheus text format, 0.0.4.
    Prometheus,
}

impl Format {
    /// The value of the Content-Type header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Whose samples these are: names and values of [`OWNERS`]. Labels with an empty value are
/// left out, which means the same.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// The labels that say whose a sample is.
const OWNERS: [&str; 4] = ["interface", "worker", "lane", "export"];

/// A document under construction.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    /// The samples of each family, by its name.
    samples: HashMap<&'static str, String>,
}

impl Exposition {
    /// An empty document.
    pub fn new(format: Format) -> Self {
        Self { format, samples: HashMap::new() }
    }

    /// Writes a value. `labels` are the values of those labels of the family that are not
    /// in [`OWNERS`].
    pub fn value(&mut self, family: &Family, of: Labels<'_>, labels: &[&str], value: impl Display) {
        self.sample(family, &family.queried(), of, labels, None, value);
    }

    /// Writes a histogram.
    pub fn histogram(&mut self, family: &Family, of: Labels<'_>, labels: &[&str], times: &Distribution) {
        let name = family.name;
        let bucket = format!("{name}_bucket");
        for (le, count) in cumulative(times) {
            self.sample(family, &bucket, of, labels, Some(le), count);
        }
        self.sample(family, &format!("{name}_sum"), of, labels, None, sum_seconds(times));
        self.sample(family, &format!("{name}_count"), of, labels, None, times.count());
    }

    fn sample(
        &mut self,
        family: &Family,
        name: &str,
        of: Labels<'_>,
        labels: &[&str],
        le: Option<&str>,
        value: impl Display,
    ) {
        let text = self.samples.entry(family.name).or_default();
        text.push_str(name);
        let mut others = labels.iter().copied();
        let all = family.labels.iter().map(|label| {
            let value = match OWNERS.contains(label) {
                true => of.iter().find(|(name, _)| name == label).map(|(_, value)| *value),
                false => others.next(),
            };
            let value = value.unwrap_or_default();
            (*label, value)
        });
        let mut before = '{';
        for (label, value) in all.chain(le.map(|le| ("le", le))).filter(|(_, value)| !value.is_empty()) {
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "{before}{label}=\"{}\"", Escaped(value));
            before = ',';
        }
        debug_assert!(others.all(str::is_empty), "{name} has no label for {labels:?}");
        if before == ',' {
            text.push('}');
        }
        line(text, format_args!(" {value}"));
    }

    /// Returns the complete document: all families, in their order.
    pub fn finish(self) -> String {
        let mut text = String::new();
        for family in FAMILIES {
            // The old format names a family after its samples, and has no info type.
            let (name, kind) = match (self.format, family.kind) {
                (Format::OpenMetrics, kind) => (family.name.to_owned(), kind),
                (Format::Prometheus, Kind::Info) => (family.queried(), Kind::Gauge),
                (Format::Prometheus, kind) => (family.queried(), kind),
            };
            line(&mut text, format_args!("# HELP {name} {}", Escaped(family.help)));
            line(&mut text, format_args!("# TYPE {name} {}", kind.name()));
            if self.format == Format::OpenMetrics && !family.unit.is_empty() {
                line(&mut text, format_args!("# UNIT {name} {}", family.unit));
            }
            text += self.samples.get(family.name).map_or("", String::as_str);
        }
        if self.format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
    text.push('\n');
}

/// A label value or a help text, escaped. The formats differ only in quotation marks in
/// help texts, and ours have none.
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
    use super::*;
    use crate::observe::family::{EXPORT, INTERFACE_MTU, REQUESTS};

    fn written(format: Format, family: &'static Family, of: Labels<'_>, labels: &[&str]) -> String {
        let mut to = Exposition::new(format);
        to.value(family, of, labels, 1500);
        to.finish()
    }

    #[test]
    fn label_values_are_escaped() {
        let of: Labels<'_> = &[("export", "0.1"), ("worker", "0")];
        let text = written(Format::OpenMetrics, &EXPORT, of, &["/srv/\"a\"\\b\nc\u{e9}"]);
        let sample = r#"xblade_export_info{export="0.1",path="/srv/\"a\"\\b\ncé",worker="0"} 1500"#;
        assert!(text.lines().any(|line| line == sample), "{text}");
    }

    #[test]
    fn the_formats_differ_in_names_units_and_end() {
        let eth1: Labels<'_> = &[("interface", "eth1")];
        let text = written(Format::OpenMetrics, &INTERFACE_MTU, eth1, &[]);
        let mtu =
            "# UNIT xblade_interface_mtu_bytes bytes\nxblade_interface_mtu_bytes{interface=\"eth1\"} 1500\n";
        assert!(text.contains(mtu) && text.ends_with("\n# EOF\n"), "{text}");
        let text = written(Format::Prometheus, &INTERFACE_MTU, eth1, &[]);
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
        let (old, new) = (Format::Prometheus, Format::OpenMetrics);
        let export: Labels<'_> = &[("export", "0.1")];
        for (format, family, head) in [
            (new, &REQUESTS, "# TYPE xblade_export_requests counter\n"),
            (old, &REQUESTS, "# TYPE xblade_export_requests_total counter\n"),
            (new, &EXPORT, "# TYPE xblade_export info\n"),
            (old, &EXPORT, "# TYPE xblade_export_info gauge\n"),
        ] {
            let text = written(format, family, export, &[]);
            assert!(text.contains(head), "{text}");
            assert!(text.contains(&format!("\n{}{{", family.queried())), "{text}");
        }
    }
}
