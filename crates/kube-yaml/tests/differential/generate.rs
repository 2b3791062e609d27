//! Streams to compare: mutations of real-looking manifests, and documents put together from difficult parts.

use serde_json::Value;

use crate::random::Random;

/// A manifest with one to three small mistakes, such as people make and merges leave behind.
pub(crate) fn mutate(random: &mut Random, corpus: &[String]) -> String {
    let mut text = random.pick(&corpus.iter().collect::<Vec<_>>()).clone();
    for _ in 0..random.pick(&[1, 1, 1, 2, 3]) {
        text = match random.below(16) {
            0..=3 => edit_character(random, &text),
            4 => remove_line(random, &text),
            5 => repeat_line(random, &text),
            6 | 7 => shift_line(random, &text),
            8 => join_lines(random, &text),
            9 => swap_lines(random, &text),
            10 => splice(random, &text, corpus),
            _ => replace_scalar(random, &text),
        };
    }
    text
}

/// What is put into a text in place of a character.
const SNIPPETS: &[&str] = &[
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    ":",
    ": ",
    "-",
    "- ",
    "#",
    " #",
    " # note",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "|",
    "|-\n",
    ">",
    ">-\n  ",
    "?",
    "? ",
    "~",
    "\\",
    "%",
    "@",
    "`",
    "\r\n",
    "\r",
    "<<: ",
    "---\n",
    "...\n",
    "\u{e9}",
    "\u{4e2d}",
    "\u{1f600}",
    "=",
    "0",
    "_",
    ".",
    "y",
    "null",
    "\u{a0}",
];

fn edit_character(random: &mut Random, text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return random.pick(SNIPPETS).to_owned();
    }
    let at = random.below(characters.len());
    let keep_from = match random.below(3) {
        0 => at,
        _ => at + 1,
    };
    let snippet = if random.one_in(3) { "" } else { random.pick(SNIPPETS) };
    characters[..at].iter().chain(&snippet.chars().collect::<Vec<_>>()).chain(&characters[keep_from..]).collect()
}

fn with_lines(text: &str, change: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    change(&mut lines);
    lines.join("\n")
}

fn remove_line(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        lines.remove(random.below(lines.len()));
    })
}

fn repeat_line(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        let line = lines[random.below(lines.len())].clone();
        lines.insert(random.below(lines.len()), line);
    })
}

fn shift_line(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        let at = random.below(lines.len());
        lines[at] = match random.below(4) {
            0 => format!(" {}", lines[at]),
            1 => format!("  {}", lines[at]),
            2 => lines[at].strip_prefix(' ').unwrap_or(&lines[at]).to_owned(),
            _ => lines[at].trim_start().to_owned(),
        };
    })
}

fn join_lines(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        let at = random.below(lines.len());
        if at + 1 < lines.len() {
            let next = lines.remove(at + 1);
            lines[at].push_str(random.pick(&["", " ", ", "]));
            lines[at].push_str(next.trim_start());
        }
    })
}

fn swap_lines(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        let (one, other) = (random.below(lines.len()), random.below(lines.len()));
        lines.swap(one, other);
    })
}

/// Puts a difficult scalar in the place of a value or a key.
fn replace_scalar(random: &mut Random, text: &str) -> String {
    with_lines(text, |lines| {
        let at = random.below(lines.len());
        if let Some((key, value)) = lines[at].split_once(": ") {
            let scalar = scalar(random);
            lines[at] = if random.one_in(3) {
                let indentation = &key[..key.len() - key.trim_start_matches([' ', '-']).len()];
                format!("{indentation}{scalar}: {value}")
            } else {
                format!("{key}: {scalar}")
            };
        }
    })
}

fn splice(random: &mut Random, text: &str, corpus: &[String]) -> String {
    let other = &corpus[random.below(corpus.len())];
    let from: Vec<&str> = other.split('\n').collect();
    let start = random.below(from.len());
    let end = (start + 1 + random.below(4)).min(from.len());
    with_lines(text, |lines| {
        let at = random.below(lines.len());
        lines.splice(at..at, from[start..end].iter().map(|line| (*line).to_owned()));
    })
}

/// Scalars that readers of YAML disagree about.
pub(crate) const SCALARS: &[&str] = &[
    "",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "y",
    "Y",
    "yes",
    "Yes",
    "YES",
    "yES",
    "n",
    "N",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "Off",
    "OFF",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "False",
    "FALSE",
    "0",
    "-0",
    "+0",
    "00",
    "007",
    "0777",
    "08",
    "09",
    "-010",
    "+010",
    "0o17",
    "0O17",
    "-0o17",
    "0o8",
    "0x1F",
    "0X1f",
    "-0x1F",
    "+0x1F",
    "0x",
    "0xg",
    "0b101",
    "0B101",
    "-0b101",
    "+0b101",
    "0b",
    "0b2",
    "0b-101",
    "0b+101",
    "-0b-1",
    "1_000",
    "1__0",
    "_1",
    "1_",
    "0x_1F",
    "0b1_0",
    "0_7",
    "685_230.15",
    "6.8523015e+5",
    "1.0",
    "1.",
    "1.50",
    ".5",
    "-.5",
    "+.5",
    ".5_0",
    "._5",
    ".",
    "..",
    "-",
    "--",
    "+",
    "1e3",
    "1E3",
    "1e+3",
    "1e-3",
    "1e",
    "1e+",
    "1.e3",
    ".1e3",
    "1e400",
    "-1e400",
    "1e-400",
    ".1e999",
    "1.5e300",
    "1e20",
    "1e21",
    "1e22",
    "123456789012345678",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "+9223372036854775808",
    "+18446744073709551615",
    "123456789012345678901234567890",
    "0xFFFFFFFFFFFFFFFF",
    "0xFFFFFFFFFFFFFFFFF",
    "01777777777777777777777",
    "1.7976931348623157e308",
    "4.9e-324",
    "0.1",
    "0.30000000000000004",
    "100000000000000000.0",
    "1e17",
    "1152921504606846976.0",
    "12345678901234567890.0",
    "12:30:45",
    "190:20:30",
    "12:30",
    "1:1.5",
    "2024-01-01",
    "2024-1-1",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43.10",
    "2001-12-14T21:59:43Z",
    ".inf",
    ".Inf",
    ".INF",
    "-.inf",
    "+.inf",
    ".nan",
    ".NaN",
    ".NAN",
    "nan",
    "inf",
    "Infinity",
    "1.2.3",
    "1.2.3.4",
    "10.0.0.0/8",
    "100m",
    "1Gi",
    "0.5",
    "1e3Mi",
    "=",
    "<<",
    "a b",
    "a: b",
    "a:b",
    "a #b",
    "a#b",
    "#a",
    "-a",
    "- a",
    "?a",
    "? a",
    ":a",
    ": a",
    "@a",
    "`a",
    "%a",
    "!a",
    "!",
    "! a",
    "! 12",
    "! \"12\"",
    "!!str 12",
    "!!str",
    "!!int 12",
    "!!int \"12\"",
    "!!int x",
    "!!int 1.5",
    "!!float 1",
    "!!float 1.5",
    "!!float x",
    "!!float 18446744073709551615",
    "!!bool yes",
    "!!bool x",
    "!!bool \"no\"",
    "!!null ~",
    "!!null x",
    "!!null ''",
    "!!binary aGVsbG8=",
    "!!binary aGVsbG8",
    "!!binary x",
    "!!binary /w==",
    "!!binary ''",
    "!!timestamp 2024-01-01",
    "!!timestamp 2024-13-01",
    "!!timestamp x",
    "!!timestamp '2024-01-01 1:2:3'",
    "!!set x",
    "!!foo x",
    "!<tag:yaml.org,2002:int> 12",
    "!<!x> 12",
    "!e!x 12",
    "!x%21y 12",
    "''",
    "\"\"",
    "'it''s'",
    "'12'",
    "\"yes\"",
    "\"\\u00e9\"",
    "\"\\x41\"",
    "\"\\U0001F600\"",
    "\"\\ud83d\\ude00\"",
    "\"\\/\"",
    "\"\\q\"",
    "\"\\'\"",
    "\"\\0\"",
    "\"\\e\"",
    "\"\\N\\_\\L\\P\"",
    "\"a\\\n  b\"",
    "\"a\n  b\"",
    "'a\n\n  b'",
    "a\n  b",
    "a\n\n  b",
    "\u{e9}t\u{e9}",
    "\u{4e2d}\u{6587}",
    "\u{1f600}",
    "\u{a0}",
    "a\u{a0}b",
    "a\tb",
    "[]",
    "{}",
    "[a, b]",
    "{a: 1}",
    "{a}",
    "{a: }",
    "[a: 1]",
    "[a, ]",
    "[, a]",
    "[a,, b]",
    "{a: 1, }",
    "{a:1}",
    "{\"a\":1}",
    "{'a':1}",
    "[a:b]",
    "[a?b]",
    "{a?: 1}",
    "{? a : b}",
    "[? a : b]",
    "[1, [2, [3]]]",
    "{a: {b: {c: d}}}",
    "[\n]",
    "[a,\nb]",
    "{a: 1,\nb: 2}",
    "|\n  a\n  b",
    "|-\n  a",
    "|+\n  a\n\n",
    ">\n  a\n  b",
    ">-\n  a\n\n  b",
    "|2\n    a",
    "|1-\n  a",
    "|-1\n  a",
    "|0\n a",
    "|\n\n  a",
    ">\n  a\n   b\n  c",
    "| # note\n  a",
    "|x\n  a",
    "|\n\ta",
    "*a",
    "&a x",
    "&a",
    "&a &b x",
    "*",
    "&",
    "&a *a",
    "&a: b",
    "*a : b",
    "a\u{2028}b",
    "\"a\u{2028}b\"",
    "\"a \u{2028} b\"",
    "'\u{2029}'",
    "a\u{85}  b",
    "\"a\u{85}b\"",
    "\u{feff}a",
    "a\u{feff}",
    "\u{7f}",
    "\u{1}",
    "\u{fffe}",
    "\"\\u2028\"",
    "a\rb",
    "\"a\r  b\"",
];

pub(crate) fn scalar(random: &mut Random) -> &'static str {
    random.pick(SCALARS)
}

/// A document put together from difficult parts.
pub(crate) fn document(random: &mut Random) -> String {
    let mut text = String::new();
    if random.one_in(10) {
        text.push_str(random.pick(&["---\n", "--- # note\n", "# note\n", "\n", "\u{feff}", "%YAML 1.1\n---\n", "---\n---\n"]));
    }
    node(random, &mut text, 0, 3);
    if random.one_in(10) {
        text.push_str(random.pick(&["...\n", "---\n", "\n# note\n", "--- x\n", "---\nb: 2\n", " ", "\t", "#"]));
    }
    text
}

/// Lines at this indentation, for a value of a mapping, an item, or the root.
fn node(random: &mut Random, text: &mut String, indent: usize, depth: usize) {
    let entries = 1 + random.below(4);
    match random.below(if depth == 0 { 1 } else { 4 }) {
        0 => {
            indented(text, indent, scalar(random));
            text.push('\n');
        }
        1 => {
            for _ in 0..entries {
                indented(text, indent, "-");
                if random.one_in(3) {
                    text.push('\n');
                    let deeper = 1 + random.below(3);
                    node(random, text, indent + deeper, depth - 1);
                } else {
                    text.push(' ');
                    inline(random, text, indent);
                }
            }
        }
        _ => {
            for _ in 0..entries {
                indented(text, indent, &key(random));
                text.push(':');
                if random.one_in(2) {
                    text.push_str(random.pick(&["\n", "\n", " &a\n", " !!map\n", " # note\n", "  \n"]));
                    let deeper = if random.one_in(6) { 0 } else { 1 + random.below(3) };
                    node(random, text, indent + deeper, depth - 1);
                } else {
                    text.push(' ');
                    inline(random, text, indent);
                }
            }
        }
    }
}

fn key(random: &mut Random) -> String {
    match random.below(8) {
        0 => scalar(random).to_owned(),
        1 => format!("? {}\n", random.pick(&["a", "b", "12", "~"])),
        2 => "<<".to_owned(),
        _ => random.pick(&["a", "b", "c", "name", "key-1", "x.y/z", "\"q\"", "'q'"]).to_owned(),
    }
}

fn inline(random: &mut Random, text: &mut String, indent: usize) {
    let scalar = match random.below(6) {
        0 => format!("&a {}", scalar(random)),
        1 => "*a".to_owned(),
        2 => format!("[{}, {}]", scalar(random), scalar(random)),
        3 => format!("{{{}: {}, b: {}}}", scalar(random), scalar(random), scalar(random)),
        _ => scalar(random).to_owned(),
    };
    // What continues on further lines must be deeper than the key to be read.
    text.push_str(&scalar.replace('\n', &format!("\n{}", " ".repeat(indent))));
    text.push_str(random.pick(&["\n", "\n", "\n", " # note\n", " \n", "\r\n"]));
}

fn indented(text: &mut String, indent: usize, line: &str) {
    text.push_str(&" ".repeat(indent));
    text.push_str(line);
}

/// A value to write as YAML, with texts that need quotes.
pub(crate) fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 => Value::from(random.pick(&[0, 1, -1, 8080, i64::MAX, i64::MIN])),
        3 => Value::from(random.pick(&[0.5, -1.25, 1e-7, 1.5e300, 0.1])),
        4 | 5 => Value::String(text(random)),
        6 => (0..random.below(4)).map(|_| value(random, depth - 1)).collect(),
        _ => (0..random.below(4)).map(|_| (text(random), value(random, depth - 1))).collect(),
    }
}

fn text(random: &mut Random) -> String {
    match random.below(4) {
        0 => scalar(random).to_owned(),
        1 => format!("{}\n{}", scalar(random), scalar(random)),
        2 => format!("{}\n", scalar(random)),
        _ => random
            .pick(&[
                "name",
                "app.kubernetes.io/name",
                "a b",
                "x: y",
                "10.0.0.1",
                "\n",
                "\n\n",
                " a",
                "a ",
                "a\n\n",
                "a\n b\n",
                " a\nb",
                "\ta\nb",
                "a\n\t\nb",
                "a\r\nb",
            ])
            .to_owned(),
    }
}
