//! The files that vblade is started from: `/etc/vblade.conf.d/*.conf` of its
//! service, fragments of shell that set variables, and scripts that call it.

use super::args::Vblade;

/// A call of vblade that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Where: a file, with a line if it may have several.
    pub source: String,
    /// The words after `vblade`.
    pub words: Vec<String>,
    /// What is said of it.
    pub vblade: Result<Vblade, String>,
}

/// What was found in a file.
#[derive(Default, Debug)]
pub struct Found {
    /// Calls of vblade.
    pub calls: Vec<Call>,
    /// What is not carried over, and where it stands.
    pub remarks: Vec<(String, String)>,
    /// Whether something that vblade may have served is left out.
    pub is_partial: bool,
}

/// The variables of vblade's service, in the order of its arguments.
const NEEDED: [&str; 4] = ["shelf", "slot", "netif", "filename"];

/// Reads a file that is called so.
pub fn read(name: &str, text: &str) -> Found {
    let mut found = Found::default();
    let mut variables: Vec<(String, String)> = Vec::new();
    let text = text.replace("\\\n", "  ");
    for (number, line) in (1..).zip(text.lines()) {
        let source = format!("{name}:{number}");
        let Some(words) = shlex::split(line) else {
            found.remark(source, "quotes that are not closed: the line is left out");
            continue;
        };
        if let Some(at) = words.iter().position(|word| is_vblade(word)) {
            found.call(source, &words, at);
        } else {
            found.assignments(&source, words, &mut variables);
        }
    }
    found.service(name, &variables);
    found
}

/// A command line, as it would be typed.
pub fn command(source: &str, line: &str) -> Found {
    let mut found = Found::default();
    let Some(words) = shlex::split(line) else {
        found.is_partial = true;
        found.remark(source.to_owned(), "quotes that are not closed: it is left out");
        return found;
    };
    match words.iter().position(|word| is_vblade(word)) {
        Some(at) => found.call(source.to_owned(), &words, at),
        // With the name of the program left out.
        None => {
            let words: Vec<String> = std::iter::once("vblade".to_owned()).chain(words).collect();
            found.call(source.to_owned(), &words, 0);
        }
    }
    found
}

fn is_vblade(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    // A path to a file of that name is one with options before it.
    matches!(name, "vblade" | "vbladed") && !word.contains('=')
}

impl Found {
    fn remark(&mut self, source: String, what: impl Into<String>) {
        self.remarks.push((source, what.into()));
    }

    fn push(&mut self, source: String, words: Vec<String>) {
        let vblade = Vblade::parse(&words).map_err(|e| e.to_string());
        self.calls.push(Call { source, words, vblade });
    }

    /// A command with vblade as one of its words.
    fn call(&mut self, source: String, words: &[String], at: usize) {
        let (before, rest) = words.split_at(at);
        if !before.is_empty() {
            self.remark(source.clone(), format!("'{}' is not carried over", before.join(" ")));
        }
        let ends = |word: &String| word.starts_with(['&', '|', ';', '<', '>']) || word.starts_with("2>");
        let arguments: Vec<String> = rest.iter().skip(1).take_while(|word| !ends(word)).cloned().collect();
        let after: Vec<&str> = rest.iter().skip(1 + arguments.len()).map(String::as_str).collect();
        if !after.is_empty() && after != ["&"] {
            self.remark(source.clone(), format!("'{}' is not carried over", after.join(" ")));
        }
        if arguments.iter().any(|word| is_expanded(word)) {
            self.is_partial = true;
            let expanded: Vec<&str> =
                arguments.iter().map(String::as_str).filter(|word| is_expanded(word)).collect();
            let what = format!(
                "'{}' is left out: a shell would expand {}, which is not done here: write what it stands for in its \
                 place, or give the call so by --command",
                words.join(" "),
                expanded.join(" and ")
            );
            self.remark(source, what);
        } else {
            self.push(source, arguments);
        }
    }

    fn assignments(&mut self, source: &str, words: Vec<String>, variables: &mut Vec<(String, String)>) {
        let mut others: Vec<String> = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    if is_expanded(value) {
                        let what = format!(
                            "{name}={value}: a shell would expand it, which is not done here: write what it stands \
                             for in its place"
                        );
                        self.remark(source.to_owned(), what);
                    }
                    let value = value.trim_end_matches(';');
                    variables.retain(|(known, _)| known != name);
                    variables.push((name.to_owned(), value.to_owned()));
                }
                _ if word == "export" => {}
                _ => others.push(word),
            }
        }
        if !others.is_empty() {
            self.remark(source.to_owned(), format!("'{}' is not carried over", others.join(" ")));
        }
    }

    /// The call that vblade's service makes of the variables.
    fn service(&mut self, name: &str, variables: &[(String, String)]) {
        let get = |wanted: &str| {
            let found = variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        for (variable, value) in variables {
            let what = format!("{variable}={value} is not carried over");
            match variable.as_str() {
                "ionice" if value.is_empty() => {}
                "ionice" => self.remark(
                    name.to_owned(),
                    format!("{what}: xblade has one process for all exports; give it a priority with ionice"),
                ),
                known if NEEDED.contains(&known) || known == "options" => {}
                _ => self.remark(name.to_owned(), what),
            }
        }
        let missing: Vec<&str> = NEEDED.into_iter().filter(|variable| get(variable).is_none()).collect();
        if !missing.is_empty() {
            if missing.len() < NEEDED.len() || self.calls.is_empty() {
                let what = format!(
                    "has no {}: vblade's service ignores it, and so does this",
                    missing.join(", no ")
                );
                self.remark(name.to_owned(), what);
            }
            return;
        }
        if NEEDED.into_iter().chain(["options"]).filter_map(get).any(is_expanded) {
            self.is_partial = true;
            self.remark(name.to_owned(), "is left out, because of what a shell would expand");
            return;
        }
        // Of the options a shell makes several words.
        let options = get("options").unwrap_or("").split_whitespace();
        let words = options.chain(NEEDED.into_iter().filter_map(get)).map(str::to_owned).collect();
        self.push(name.to_owned(), words);
    }
}

fn is_expanded(value: &str) -> bool {
    value.contains(['$', '`', '*', '?']) || value.starts_with('~')
}
