//! `Warning` headers: what the server has to say about a request that it carried out (RFC 7234, section 5.5).

use http::{HeaderMap, header::WARNING};

/// More than this is cut: kube-apiserver itself stops at 4 KiB of warnings for one answer.
const WARNINGS_MAX: usize = 64;

/// The texts of all warnings of an answer, in order. What does not have the form of a warning is left out.
pub(super) fn warnings(headers: &HeaderMap) -> Vec<String> {
    let mut texts = Vec::new();
    for value in headers.get_all(WARNING) {
        let mut rest = &*String::from_utf8_lossy(value.as_bytes());
        while let Some((text, after)) = warning(rest) {
            if texts.len() == WARNINGS_MAX {
                return texts;
            }
            texts.push(text);
            rest = after;
        }
    }
    texts
}

/// `299 agent "text" ["date"]`, then what follows the comma.
fn warning(input: &str) -> Option<(String, &str)> {
    let input = input.trim_start_matches([' ', '\t', ',']);
    let (code, rest) = input.split_once(' ')?;
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (_agent, rest) = rest.trim_start().split_once(' ')?;
    let (text, rest) = quoted(rest.trim_start())?;
    let rest = rest.trim_start();
    let rest = quoted(rest).map_or(rest, |(_date, rest)| rest);
    Some((text, rest))
}

/// A quoted-string, and what follows it.
fn quoted(input: &str) -> Option<(String, &str)> {
    let inside = input.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &inside[at + 1..])),
            '\\' => text.push(characters.next()?.1),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(headers: &[&str], expect: &[&str]) {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WARNING, HeaderValue::from_bytes(header.as_bytes()).unwrap());
        }
        assert_eq!(warnings(&map), expect, "{headers:?}");
    }

    #[test]
    fn reads_every_form() {
        check(&[], &[]);
        check(&[r#"299 - "unknown field \"spec.foo\"""#], &[r#"unknown field "spec.foo""#]);
        check(&[r#"299 - "a, b", 299 agent "c" "Wed, 21 Oct 2015 07:28:00 GMT""#], &["a, b", "c"]);
        check(&[r#"299 - "one""#, r#"299 - "two""#], &["one", "two"]);
        check(&[r#"299 - "back\\slash""#], &["back\\slash"]);
        check(&["299 - \"größe\""], &["größe"]);
    }

    #[test]
    fn leaves_out_what_is_not_a_warning() {
        check(&["", "299", "299 -", "299 - text", r#"299 - "open"#, r#"29x - "text""#, r#"299 - "open\"#], &[]);
        check(&[r#"299 - "kept" and then noise"#], &["kept"]);
    }

    #[test]
    fn is_bounded() {
        let many = vec![r#"299 - "again""#; WARNINGS_MAX + 9].join(", ");
        let mut map = HeaderMap::new();
        map.append(WARNING, many.parse().unwrap());
        assert_eq!(warnings(&map).len(), WARNINGS_MAX);
    }
}
