//! What a scalar means in YAML 1.1 as go-yaml v2 reads it.
//!
//! The rules differ from the specification: `y` and `n` are booleans, a date stays text, `12:30` stays text (no base 60), a float
//! out of range stays text, an underscore may stand anywhere in a number.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Number;

use crate::number;
use crate::timestamp;

/// The prefix of the tags that `!!` abbreviates.
const CORE: &str = "tag:yaml.org,2002:";

/// A resolved scalar.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(Number),
    Float(f64),
    Text(Cow<'a, str>),
}

/// What a scalar without a tag means if it is not quoted.
pub(crate) fn plain(text: Cow<'_, str>) -> Scalar<'_> {
    let Some(first) = text.bytes().next() else { return Scalar::Null };
    let scalar = match first {
        b'0'..=b'9' | b'+' | b'-' => special_float(&text).or_else(|| numeric(&text)),
        b'.' => special_float(&text).or_else(|| dotted(&text)),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(&text),
        _ => None,
    };
    scalar.unwrap_or(Scalar::Text(text))
}

/// What a scalar with an explicit tag means, quoted or not. The error says what does not fit.
pub(crate) fn tagged<'a>(tag: &str, text: Cow<'a, str>) -> Result<Scalar<'a>, String> {
    let Some(core) = tag.strip_prefix(CORE) else { return Ok(Scalar::Text(text)) };
    let mismatch = || format!("the value does not fit its tag !!{core}; correct the value or remove the tag");
    match core {
        "binary" => binary(&text).map(|text| Scalar::Text(Cow::Owned(text))),
        "timestamp" => {
            if timestamp::is(&text) {
                Ok(Scalar::Text(text))
            } else {
                Err(mismatch())
            }
        }
        "bool" | "int" | "float" | "null" => match (core, plain(text)) {
            ("float", Scalar::Integer(number)) => {
                // go-yaml converts signed integers alone.
                number.as_i64().and(number.as_f64()).map(Scalar::Float).ok_or_else(mismatch)
            }
            ("bool", scalar @ Scalar::Bool(_))
            | ("int", scalar @ Scalar::Integer(_))
            | ("float", scalar @ Scalar::Float(_))
            | ("null", scalar @ Scalar::Null) => Ok(scalar),
            _ => Err(mismatch()),
        },
        _ => Ok(Scalar::Text(text)),
    }
}

/// Whether a key `<<` with this tag is a merge key. A lone `!` counts as no tag.
pub(crate) fn is_merge_tag(tag: &str) -> bool {
    tag == "!" || tag.strip_prefix(CORE) == Some("merge")
}

fn word(text: &str) -> Option<Scalar<'static>> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => return None,
    })
}

fn special_float(text: &str) -> Option<Scalar<'static>> {
    Some(Scalar::Float(match text {
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => f64::INFINITY,
        "-.inf" | "-.Inf" | "-.INF" => f64::NEG_INFINITY,
        _ => return None,
    }))
}

/// A number that begins with a digit or a sign.
fn numeric(text: &str) -> Option<Scalar<'static>> {
    // Most texts that begin like a number are none: addresses, versions, quantities, dates.
    let possible = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'x' | b'X' | b'o' | b'O');
    if !text.bytes().all(possible) {
        return None;
    }
    let plain = if text.contains('_') && !timestamp::is(text) { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    number::integer(&plain).or_else(|| signed_binary(&plain)).map(Scalar::Integer).or_else(|| number::float(&plain).map(Scalar::Float))
}

/// `0b-101`: go-yaml strips the prefix and reads a signed number.
fn signed_binary(text: &str) -> Option<Number> {
    let digits = text.strip_prefix("0b")?;
    let bare = digits.strip_prefix(['-', '+'])?;
    if bare.starts_with(['-', '+']) {
        return None;
    }
    i64::from_str_radix(digits, 2).ok().map(Number::from)
}

/// A number that begins with a dot. go-yaml gives it to `strconv.ParseFloat` as it is, which allows an underscore between digits.
fn dotted(text: &str) -> Option<Scalar<'static>> {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let separates = |at: usize| digit(bytes.get(at - 1)) && digit(bytes.get(at + 1));
    if !text.match_indices('_').all(|(at, _)| separates(at)) {
        return None;
    }
    let plain = if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    number::float(&plain).map(Scalar::Float)
}

/// Base64 as Go's `StdEncoding` decodes it; what is not UTF-8 in the result is replaced byte by byte, as Go's JSON does.
fn binary(text: &str) -> Result<String, String> {
    const STANDARD: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let stripped: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(stripped).map_err(|_| "the value of !!binary is not base64".to_owned())?;
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Ok(decoded)
}
