//! Which texts the tag `!!timestamp` accepts. Without the tag a date is text, so this decides nothing else.

/// Whether `time.Parse` of Go accepts the text in one of go-yaml's four forms: a date; a date, a space and a time; a date, `T` or
/// `t`, a time and a zone.
pub(crate) fn is(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(text: &str) -> Option<()> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    expect(&mut rest, '-')?;
    let month = digits(&mut rest, 1, 2).filter(|month| (1..=12).contains(month))?;
    expect(&mut rest, '-')?;
    let day = digits(&mut rest, 1, 2)?;
    if day < 1 || day > days(year, month) {
        return None;
    }
    let zoned = match rest.chars().next() {
        None => return Some(()),
        Some('T' | 't') => true,
        Some(' ') => false,
        Some(_) => return None,
    };
    rest = if zoned { &rest[1..] } else { rest.trim_start_matches(' ') };
    digits(&mut rest, 1, 2).filter(|hour| *hour < 24)?;
    expect(&mut rest, ':')?;
    digits(&mut rest, 1, 2).filter(|minute| *minute < 60)?;
    expect(&mut rest, ':')?;
    digits(&mut rest, 1, 2).filter(|second| *second < 60)?;
    if let Some(after) = rest.strip_prefix(['.', ',']) {
        let fraction = after.bytes().take_while(u8::is_ascii_digit).count();
        if fraction == 0 {
            return None;
        }
        rest = &after[fraction..];
    }
    if zoned { zone(rest) } else { rest.is_empty().then_some(()) }
}

fn zone(text: &str) -> Option<()> {
    if text == "Z" {
        return Some(());
    }
    let mut rest = text.strip_prefix(['+', '-'])?;
    digits(&mut rest, 2, 2).filter(|hours| *hours <= 24)?;
    expect(&mut rest, ':')?;
    digits(&mut rest, 2, 2).filter(|minutes| *minutes < 60)?;
    rest.is_empty().then_some(())
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if length < least {
        return None;
    }
    let (number, after) = rest.split_at(length);
    *rest = after;
    number.parse().ok()
}

fn expect(rest: &mut &str, character: char) -> Option<()> {
    *rest = rest.strip_prefix(character)?;
    Some(())
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
