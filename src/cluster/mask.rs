//! Values of Secrets do not leave through a server's error message.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::manifest::is_plain_field_of_secret;

/// Shorter values are left: they are found in any sentence, and replacing them would only mark where they occur.
const VALUE_LENGTH_MIN: usize = 4;

/// What stands for a value.
const MASK: &str = "***";

/// The message without any value of the Secret that the body is, encoded or decoded; the message itself for other kinds.
pub(super) fn mask(message: &str, body: &[u8]) -> String {
    let mut values = values(body);
    values.retain(|value| value.len() >= VALUE_LENGTH_MIN);
    // The longest first: one value may be a part of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut text = values.iter().fold(message.to_owned(), |text, value| text.replace(value.as_str(), MASK));
    if let Some(start) = cut_value(&text, &values) {
        text.replace_range(start.., MASK);
    }
    text
}

/// Where a value begins that the end of the message has cut: long messages are cut before they come here.
fn cut_value(text: &str, values: &[String]) -> Option<usize> {
    let end = text.strip_suffix('\u{2026}').map_or(text.len(), str::len);
    let lengths =
        |value: &String| (VALUE_LENGTH_MIN..value.len()).rev().filter(|length| value.is_char_boundary(*length)).collect::<Vec<_>>();
    values
        .iter()
        .flat_map(|value| lengths(value).into_iter().map(move |length| &value[..length]))
        .filter(|start| text[..end].ends_with(start))
        .map(|start| end - start.len())
        .min()
}

fn values(body: &[u8]) -> Vec<String> {
    // Most objects are not Secrets, and need not be parsed to know it.
    if !body.windows(8).any(|word| word == b"\"Secret\"") {
        return Vec::new();
    }
    let Ok(object) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return Vec::new();
    }
    let mut values = Vec::new();
    object.as_object().into_iter().flatten().filter(|(name, _)| !is_plain_field_of_secret(name)).for_each(|(_, value)| {
        collect(value, &mut values);
    });
    values
}

/// What is below a field that holds values. What is no text has no place in a Secret, and the server quotes it when it says so.
fn collect(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            spell(text, out);
            if let Some(plain) = BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                spell(&plain, out);
                plain.lines().for_each(|line| spell(line.trim(), out));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, out)),
        Value::Number(number) => spell_number(number, out),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A number as it is, and as Go prints it where it takes it for a float.
fn spell_number(number: &serde_json::Number, out: &mut Vec<String>) {
    out.push(number.to_string());
    let Some((digits, exponent)) = number.as_f64().map(|float| format!("{float:e}")).and_then(|text| {
        let (digits, exponent) = text.split_once('e')?;
        Some((digits.to_owned(), exponent.parse::<i32>().ok()?))
    }) else {
        return;
    };
    let sign = if exponent < 0 { '-' } else { '+' };
    out.push(format!("{digits}e{sign}{:02}", exponent.abs()));
}

/// The value as it is, and as Go and JSON quote it.
fn spell(value: &str, out: &mut Vec<String>) {
    out.push(value.to_owned());
    let quoted = Value::from(value).to_string();
    out.push(quoted[1..quoted.len() - 1].to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_every_spelling() {
        let plain = "hunter2\nsecond \"line\"";
        let encoded = BASE64_STANDARD.encode(plain);
        let body =
            format!(r#"{{"apiVersion":"v1","kind":"Secret","data":{{"password":"{encoded}"}},"stringData":{{"b":"correct horse"}}}}"#);
        for shown in [plain, &encoded, "hunter2\\nsecond \\\"line\\\"", "hunter2", "correct horse"] {
            let masked = mask(&format!("invalid value: {shown}!"), body.as_bytes());
            assert_eq!(masked, "invalid value: ***!");
        }
    }

    #[test]
    fn masks_what_the_end_of_the_message_has_cut() {
        let body = br#"{"apiVersion":"v1","kind":"Secret","stringData":{"b":"correct horse"}}"#;
        assert_eq!(mask("wrong: correct ho", body), "wrong: ***");
        assert_eq!(mask("wrong: correct ho\u{2026}", body), "wrong: ***");
        assert_eq!(mask("wrong: cor", body), "wrong: cor");
    }

    #[test]
    fn masks_what_is_no_text() {
        let body = br#"{"apiVersion":"v1","kind":"Secret","data":{"pin":12345678,"deep":{"a":["hunter2"]}},"odd":{"b":"correct horse"}}"#;
        assert_eq!(mask("got &value.valueUnstructured{Value:12345678}", body), "got &value.valueUnstructured{Value:***}");
        assert_eq!(mask("got 1.2345678e+07", body), "got ***");
        assert_eq!(
            mask(r#"got map[string]interface {}{"a":[]interface {}{"hunter2"}}"#, body),
            r#"got map[string]interface {}{"a":[]interface {}{"***"}}"#
        );
        assert_eq!(mask("odd: correct horse", body), "odd: ***");
    }

    #[test]
    fn leaves_other_messages() {
        let config = br#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"value1"}}"#;
        assert_eq!(mask("value1 is wrong", config), "value1 is wrong");
        let secret = br#"{"apiVersion":"v1","kind":"Secret","data":{"a":"b2s="}}"#;
        assert_eq!(mask("this is ok", secret), "this is ok");
        assert_eq!(mask("broken", b"\"Secret\" {"), "broken");
    }
}
