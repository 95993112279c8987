//! Request bodies.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::{self, Export};
use crate::store::Problem;

/// Parses an export from a body: either the keys of `[[export]]`, or `export` in the
/// command-line form.
///
/// # Errors
///
/// All mistakes, in one line.
pub fn export(bytes: &[u8]) -> Result<Export, String> {
    let example = r#"{"address": "0.3", "path": "/srv/x.img"}, or {"export": "0.3=/srv/x.img"}"#;
    let keys: Table = read(bytes, example)?;
    if !keys.contains_key("export") {
        return config::export_from(&keys);
    }
    let Some(Value::String(text)) = keys.get("export").filter(|_| keys.len() == 1) else {
        return Err(format!("export is text, and nothing goes beside it: send {example}"));
    };
    let export: Export = text.parse().map_err(|error: Problem| error.to_string())?;
    match export.store.path() {
        Some(path) if !path.is_absolute() => Err(format!(
            "path = {path:?} does not begin with a /: write the whole path: xblade runs in another folder"
        )),
        _ => Ok(export),
    }
}

/// Parses the body of a read-only request.
///
/// # Errors
///
/// The mistake, in one line.
pub fn read_only(bytes: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct ReadOnly {
        read_only: bool,
    }
    read::<ReadOnly>(bytes, r#"{"read-only": true}"#).map(|body| body.read_only)
}

/// Parses the operator's reason for accepting writes again.
///
/// # Errors
///
/// The mistake, in one line.
pub fn reason(bytes: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recover {
        reason: String,
    }
    let example = r#"{"reason": "disk replaced, fsck done"}"#;
    let Recover { reason } = read(bytes, example)?;
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(format!("the reason is empty: say what was checked, for the log: send {example}"));
    }
    Ok(reason.to_owned())
}

fn read<T: DeserializeOwned>(bytes: &[u8], example: &str) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("the body is not the JSON that is wanted here: {error}: send {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let keys =
            r#"{"address": "0.3", "path": "/srv/x", "read-only": true, "length": "1MiB", "store": "direct"}"#;
        let line = r#"{"export": "0.3=/srv/x,ro,length=1MiB,store=direct"}"#;
        let export = export(keys.as_bytes()).unwrap();
        assert_eq!(export, super::export(line.as_bytes()).unwrap());
        // The daemon adds the default list for all exports.
        assert_eq!(export.allow, None);
    }

    #[test]
    fn a_list_of_its_own_is_taken() {
        let of = |allow: &str| {
            let text = format!(r#"{{"address": "0.3", "path": "/srv/x", "allow": {allow}}}"#);
            export(text.as_bytes()).unwrap().allow
        };
        assert_eq!(of(r#""everybody""#), Some(Vec::new()));
        assert_eq!(of(r#"["52:54:00:00:00:01"]"#).map(|macs| macs.len()), Some(1));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_remedy() {
        let rows = [
            ("{", "not the JSON that is wanted here"),
            ("[]", "not the JSON"),
            ("{\"address\": null}", "not the JSON"),
            ("{}", "add address"),
            (r#"{"address": "0.3"}"#, "add path"),
            (r#"{"address": "4095.0", "path": "/x"}"#, "take 0 to 4094"),
            (r#"{"address": "0.3", "path": "x"}"#, "write the whole path"),
            (r#"{"address": "0.3", "path": "/x", "readonly": true}"#, "did you mean read-only?"),
            (r#"{"address": "0.3", "path": "/x", "store": "fast"}"#, "store = \"fast\" is not possible"),
            (r#"{"address": "0.3", "path": "/x", "sync": "each", "store": "mmap"}"#, "has no meaning with"),
            (r#"{"address": "0.3", "path": "/x", "allow": []}"#, "names nobody"),
            (r#"{"export": 1}"#, "export is text"),
            (r#"{"export": "0.3=/x", "path": "/y"}"#, "nothing goes beside it"),
            (r#"{"export": "0.3=x"}"#, "write the whole path"),
            (r#"{"export": "0.3"}"#, "SHELF.SLOT=PATH"),
        ];
        for (body, part) in rows {
            let said = export(body.as_bytes()).unwrap_err();
            assert!(said.contains(part) && !said.contains('\n'), "{body}: {said}");
        }
        for body in ["", "{}", "{\"read-only\": 1}", "{\"read-only\": true, \"x\": 1}"] {
            assert!(read_only(body.as_bytes()).unwrap_err().contains("send {\"read-only\": true}"), "{body}");
        }
    }
}
