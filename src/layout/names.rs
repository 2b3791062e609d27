//! Names: which are allowed, and which are so close that one is probably a slip for the other.

/// Whether a text may be a label's value, the form that names of environments, regions, clusters and bundles have: at most 63
/// letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
pub(crate) fn is_label(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether a text may name the fleet, which becomes part of object names: at most 63 lower-case letters, digits and `-`.
pub(crate) fn is_dns_label(text: &str) -> bool {
    is_label(text) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether one letter put in, left out, changed, or swapped with its neighbour makes one text of the other. Texts that differ in
/// digits alone (`web-1`, `web-2`) are meant to differ, and texts of fewer than four letters say too little.
pub(crate) fn one_edit_apart(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > 1 || one == other || one.len().min(other.len()) < 4 {
        return false;
    }
    let same = |pair: &(&u8, &u8)| pair.0 == pair.1;
    let head = one.iter().zip(other).take_while(same).count();
    let (one, other) = (&one[head..], &other[head..]);
    let tail = one.iter().rev().zip(other.iter().rev()).take_while(same).count();
    let (one, other) = (&one[..one.len() - tail], &other[..other.len() - tail]);
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    match (one, other) {
        _ if digits(one) && digits(other) => false,
        ([_], [] | [_]) | ([], [_]) => true,
        ([first, second], swapped) => swapped == [*second, *first],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        for (one, other, near) in [
            ("storefront", "storefornt", true),
            ("storefront", "storefronts", true),
            ("storefront", "stirefront", true),
            ("storefront", "storefront", false),
            ("storefront", "storeback", false),
            ("web-1", "web-2", false),
            ("web-1", "web-12", false),
            ("web-a", "web-b", true),
            ("aab", "ab", false),
            ("aaab", "aaaab", true),
        ] {
            assert_eq!(one_edit_apart(one, other), near, "{one} {other}");
            assert_eq!(one_edit_apart(other, one), near, "{other} {one}");
        }
    }

    #[test]
    fn label_values() {
        for (text, label, dns) in
            [("prod-eu-1", true, true), ("Prod_1.x", true, false), ("-a", false, false), ("", false, false), ("a b", false, false)]
        {
            assert_eq!((is_label(text), is_dns_label(text)), (label, dns), "{text}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)));
    }
}
