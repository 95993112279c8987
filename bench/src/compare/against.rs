//! An earlier comparison, to compare a new one with.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::outcome::Spread;
use crate::report::{Document, result};

use super::samples::Samples;
use super::target::Target;

/// Shown wherever ratios to an earlier comparison are shown.
pub const NOTE: &str = "\"of earlier\" compares with another run, on another day or another machine: it compares \
     the machines as well. \"machine of earlier\" is the echo now to the echo then, what the machine itself changed \
     by: judge a row by its ratio to that, and rather trust ratios within one run";

/// An earlier comparison.
#[derive(Debug)]
pub struct Earlier {
    document: Document,
}

impl Earlier {
    /// Reads its result file.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || format!("--against {}", path.display());
        let text = std::fs::read_to_string(path).with_context(failed)?;
        let document = result::read_document(&text).with_context(failed)?;
        if document.sections.iter().all(|section| section.samples.is_empty()) {
            bail!("--against {}: that is no result of a comparison", path.display());
        }
        Ok(Self { document })
    }

    /// The ratio of a target's rate now to its rate then, in the same case.
    pub fn ratio(&self, samples: &Samples, at: usize) -> Option<f64> {
        let then = self.iops(&samples.case.name(), &samples.name(at))?;
        Some(samples.iops(at)?.median / then)
    }

    /// The same ratio of the echo, which shows how the machine itself changed.
    pub fn machine(&self, samples: &Samples) -> Option<f64> {
        let echo = samples.targets.iter().position(|target| *target == Target::Echo)?;
        self.ratio(samples, echo)
    }

    fn iops(&self, case: &str, target: &str) -> Option<f64> {
        let section = self.document.sections.iter().find(|section| section.title == case)?;
        let all = section.samples.iter().filter(|sample| sample.target == target);
        Spread::of(all.map(|sample| sample.outcome.iops())).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Case;
    use super::super::section;
    use super::super::tests as fake;
    use super::*;

    fn earlier(text: &str) -> Result<Earlier> {
        let name = format!("xbb-against-{}-{}.json", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let read = Earlier::read(&path);
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn rows_of_the_same_case_and_name_are_compared_and_the_machine_is_told() {
        let then = fake::samples(&[Target::Echo, Target::Xblade(None)], &[400.0, 100.0]);
        let document = Document { sections: vec![section(&then, None)], ..Document::default() };
        let earlier = earlier(&result::of_document(&document).unwrap().to_string()).unwrap();
        let targets = [Target::Echo, Target::Xblade(None), Target::Xblade(Some("file".to_owned()))];
        let now = fake::samples(&targets, &[200.0, 150.0, 1.0]);
        assert!((earlier.ratio(&now, 1).unwrap() - 1.5).abs() < 1e-9);
        assert!((earlier.machine(&now).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(earlier.ratio(&now, 2), None, "it was not there");
        let other = Samples { case: Case { window: 1, ..Case::default() }, ..now.clone() };
        assert_eq!((earlier.ratio(&other, 1), earlier.machine(&other)), (None, None));
        let table = section(&now, Some(&earlier)).table.unwrap().markdown();
        let row = table.lines().nth(3).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(table.contains("machine of earlier") && cells[6..8] == ["1.50", "0.50"], "{table}");
    }

    #[test]
    fn what_is_no_comparison_is_refused_by_name() {
        let said = Earlier::read(Path::new("/no/such")).unwrap_err().to_string();
        assert!(said.contains("--against /no/such"), "{said}");
        assert!(format!("{:#}", earlier("no").unwrap_err()).contains("not JSON"));
        let said = earlier("{\"xblade-bench\": []}").unwrap_err().to_string();
        assert!(said.contains("no result of a comparison"), "{said}");
    }
}
