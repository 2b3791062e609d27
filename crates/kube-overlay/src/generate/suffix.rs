//! The suffix that ties a generated object's name to its content.

use crate::identity;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The suffix that Kustomize gives the object's name, without the dash before it: ten characters over a ConfigMap's or Secret's
/// content. Labels and annotations do not change it, nor does the name.
pub fn name_suffix(object: &Value) -> String {
    let field = |name: &str| object.get(name).cloned().unwrap_or_else(|| json!(""));
    // Kustomize looks for the name in the wrong place, and so always hashes an empty one.
    let mut content = json!({"kind": identity::kind(object), "name": "", "data": field("data")});
    let mut more = "binaryData";
    if identity::kind(object) == "Secret" {
        content["type"] = field("type");
        more = "stringData";
    }
    if let Some(more_data) = object.get(more).filter(|value| value.is_object()) {
        content[more] = more_data.clone();
    }
    let digest = Sha256::digest(as_go_writes_it(&content.to_string()));
    let mut hex = String::with_capacity(10);
    for byte in &digest[..5] {
        // Writing to a String never fails.
        let _ = write!(hex, "{byte:02x}");
    }
    let speakable = |c| match c {
        // Neither vowels nor what looks like one: no suffix spells a word.
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    hex.chars().map(speakable).collect()
}

/// JSON with the escapes of Go's encoder. It is compact, with sorted keys, already.
fn as_go_writes_it(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            _ => text.push(c),
        }
    }
    text
}
