//! Which known name was probably meant.

/// The name nearest to a wrong one, if one is near: the same in other case, or a few letters put in, left out or changed.
pub fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = wrong.chars().collect();
    if letters.len() > 64 {
        return None;
    }
    let limit = (letters.len() / 3).clamp(1, 3);
    let near = known.filter_map(|name| {
        let edits = if name.eq_ignore_ascii_case(wrong) { 0 } else { distance(&letters, name, limit)? };
        Some((edits, name))
    });
    near.min().map(|(_, name)| name)
}

/// How many letters make one of the other, swapped neighbours counting as one; none if more than the limit.
fn distance(one: &[char], other: &str, limit: usize) -> Option<usize> {
    let other: Vec<char> = other.chars().collect();
    if one.len().abs_diff(other.len()) > limit {
        return None;
    }
    let (mut before, mut above) = (Vec::new(), (0..=other.len()).collect::<Vec<usize>>());
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, theirs) in other.iter().enumerate() {
            let mut edits = (above[column] + usize::from(letter != theirs)).min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *theirs {
                let swapped: &Vec<usize> = &before;
                edits = edits.min(swapped[column - 1] + 1);
            }
            current.push(edits);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|edits| *edits <= limit)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names() {
        let known = || ["replicas", "selector", "template", "paused", "imagePullPolicy", "env", "args"].into_iter();
        for (wrong, meant) in [
            ("replcias", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("imagepullPolicy", Some("imagePullPolicy")),
            ("imagePulPolcy", Some("imagePullPolicy")),
            ("arg", Some("args")),
            ("enb", Some("env")),
            ("strategy", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, known()), meant, "{wrong}");
        }
    }
}
