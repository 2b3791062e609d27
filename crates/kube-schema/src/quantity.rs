//! The texts that Kubernetes reads as a quantity or as base64.

/// Whether a text is a quantity as `resource.ParseQuantity` reads it: a decimal number with a suffix of binary or decimal units or a
/// power of ten. Spaces around it are dropped, and a lone unit is taken for zero.
pub(crate) fn is_quantity(text: &str) -> bool {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let suffix = unsigned.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let suffix = suffix.strip_prefix('.').map_or(suffix, |fraction| fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    if text.is_empty() {
        return false;
    }
    match suffix {
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => true,
        _ => suffix.strip_prefix(['e', 'E']).is_some_and(is_exponent),
    }
}

fn is_exponent(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is standard base64 with its padding. Line ends do not count, as in Go.
pub(crate) fn is_base64(text: &str) -> bool {
    let letters = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let (mut count, mut padding) = (0_usize, 0_usize);
    for byte in letters {
        match byte {
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        count += 1;
    }
    count.is_multiple_of(4) && padding <= 2
}

#[cfg(test)]
mod tests {
    use super::{is_base64, is_quantity};

    #[test]
    fn quantities() {
        for good in ["1", "+1", "-1", "0.5", ".5", "5.", " 1 ", "1e3", "1E3", "1e-3", "1.5e+3", "1E", "100m", "2Ki", "3Gi", "1k", "u", "1n"]
        {
            assert!(is_quantity(good), "{good:?}");
        }
        for bad in ["", " ", "1GB", "1mi", "1K", "1 Gi", "0x10", "1e", "1_000", "one", "1.2.3", "1,5", "Gi1"] {
            assert!(!is_quantity(bad), "{bad:?}");
        }
    }

    #[test]
    fn base64() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YQ==\n", "Y\nQ=="] {
            assert!(is_base64(good), "{good:?}");
        }
        for bad in ["YQ", "YQ=", "Y Q=", "_-==", "Y===", "=YQ=", "hunter2"] {
            assert!(!is_base64(bad), "{bad:?}");
        }
    }
}
