//! The values of a generated object: read from literals and files, and written as a ConfigMap or a Secret has them.

use super::{Generator, Load};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// As many characters of Base64 stand in a line, as in Kustomize: the suffix of a name depends on it.
const LINE_LENGTH: usize = 70;

pub(super) type Values = BTreeMap<String, Vec<u8>>;

/// All values of a generator, each key once.
pub(super) fn read(generator: &Generator, load: &mut Load<'_>) -> Result<Values, String> {
    let mut values = Values::new();
    let mut put = |key: &str, value: Vec<u8>| {
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if key.is_empty() || key.len() > 253 || !key.bytes().all(legal) || key == "." || key.starts_with("..") {
            // What stands there may be a part of a value.
            return Err("a key is made of letters, digits, `-`, `_` and `.`, and not that".to_owned());
        }
        match values.insert(key.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!("the key {key} is given twice")),
        }
    };
    for path in generator.envs.iter().chain(&generator.env) {
        let text = String::from_utf8(load(path)?).map_err(|_| format!("{path} is not UTF-8"))?;
        for (line, number) in text.strip_prefix('\u{feff}').unwrap_or(&text).lines().zip(1..) {
            let line = line.trim_start();
            if !line.is_empty() && !line.starts_with('#') {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                put(key, value.as_bytes().to_vec()).map_err(|message| format!("{path}, line {number}: {message}"))?;
            }
        }
    }
    for (nth, literal) in generator.literals.iter().enumerate() {
        // The literal itself may be secret.
        let (key, value) = literal.split_once('=').ok_or_else(|| format!("literals[{nth}] is not of the form key=value"))?;
        put(key, without_quotes(value).as_bytes().to_vec()).map_err(|message| format!("literals[{nth}]: {message}"))?;
    }
    for (nth, source) in generator.files.iter().enumerate() {
        let (key, path) = source.split_once('=').unwrap_or((source.rsplit('/').next().unwrap_or_default(), source));
        if key.is_empty() || path.is_empty() || path.contains('=') {
            // It may be a value that was meant for `literals`.
            return Err(format!("files[{nth}] is neither path nor key=path"));
        }
        put(key, load(path)?)?;
    }
    Ok(values)
}

fn without_quotes(text: &str) -> &str {
    let within = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

/// A ConfigMap: what is text is `data`, the rest `binaryData`.
pub(super) fn config_map(values: Values) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    for (key, value) in values {
        match String::from_utf8(value) {
            Ok(text) => object["data"][key] = text.into(),
            Err(error) => object["binaryData"][key] = base64(error.as_bytes()).into(),
        }
    }
    object
}

/// A Secret of that type.
pub(super) fn secret(values: &Values, secret_type: &str) -> Value {
    let data: Map<String, Value> = values.iter().map(|(key, value)| (key.clone(), base64(value).into())).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "type": secret_type, "data": data})
}

/// Base64 in lines, if it is long enough for more than one.
fn base64(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    if text.len() < LINE_LENGTH {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / LINE_LENGTH + 1);
    for (at, c) in text.char_indices() {
        if at > 0 && at % LINE_LENGTH == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}
