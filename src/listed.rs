//! Lists in sentences.

/// The first of some names, and how many more there are: `a, b and 3 more`.
pub(crate) fn first<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown = names.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_named_is_counted() {
        let first = |names: &[&str]| super::first(names, 2);
        assert_eq!([first(&[]), first(&["a", "b"]), first(&["a", "b", "c", "d"])], ["", "a, b", "a, b and 2 more"]);
    }
}
