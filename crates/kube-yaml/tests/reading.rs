//! What is read, where it stands, what is refused and warned of. That kubectl agrees is the subject of `differential`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fmt::Write;

use kube_yaml::{Document, Kind, Limits, Node, Position, WarningKind, emit, parse, parse_with};
use serde_json::{Value, json};

fn one(text: &str) -> Document {
    let mut documents = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(documents.len(), 1, "{text:?}");
    documents.remove(0)
}

fn root(text: &str) -> Node {
    one(text).root
}

#[test]
fn scalars() {
    let cases = [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("y", json!(true)),
        ("yES", json!("yES")),
        ("0644", json!(420)),
        ("08", json!(8)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("-0b101", json!(-5)),
        ("0b-101", json!(-5)),
        ("1_000", json!(1000)),
        ("1.0", json!(1)),
        ("1e3", json!(1000)),
        ("-0.0", json!(0)),
        (".5_0", json!(0.5)),
        ("1e17", json!(100_000_000_000_000_000_u64)),
        ("9007199254740993.0", json!(9_007_199_254_740_992_u64)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551616", json!(18_446_744_073_709_552_000.0_f64)),
        ("123456789012345678901234567890", json!(1.234_567_890_123_456_8e29)),
        ("1e400", json!("1e400")),
        ("12:30:45", json!("12:30:45")),
        ("2024-01-31", json!("2024-01-31")),
        ("1.2.3", json!("1.2.3")),
        ("'1'", json!("1")),
        ("\"no\"", json!("no")),
        ("!!str 1", json!("1")),
        ("! 1", json!("1")),
        ("!!int \"0x10\"", json!(16)),
        ("!!float 2", json!(2)),
        ("!!binary aGVsbG8=", json!("hello")),
        ("!!binary /w==", json!("\u{fffd}")),
        ("!own 1", json!("1")),
        ("!!timestamp 2024-01-31", json!("2024-01-31")),
        ("|\n  a\n  b\n", json!("a\nb\n")),
        (">-\n  a\n  b\n", json!("a b")),
        ("a\n  b\n\n  c", json!("a b\nc")),
        ("\"\\u00e9\\\n  x\"", json!("\u{e9}x")),
        ("[a, {b: ~}]", json!(["a", {"b": null}])),
    ];
    for (text, expected) in cases {
        assert_eq!(root(&format!("a: {text}")).to_json(), json!({"a": expected}), "{text}");
    }
}

#[test]
fn keys() {
    let cases = [
        ("on", "true"),
        ("No", "false"),
        ("007", "7"),
        ("1.50", "1.5"),
        ("1e6", "1e+06"),
        ("123456.5", "123456.5"),
        ("1234567.5", "1.2345675e+06"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        (".inf", ".inf"),
        ("1e40", ".inf"),
        (".NaN", ".nan"),
        ("'on'", "on"),
        ("2024-01-31", "2024-01-31"),
        ("!!binary aGk=", "hi"),
        ("? a\n  b\n", "a b"),
    ];
    for (text, expected) in cases {
        assert_eq!(root(&format!("{text}: x")).to_json(), json!({expected: "x"}), "{text}");
    }
}

#[test]
fn streams() {
    let cases: [(&str, &[Value]); 12] = [
        ("", &[]),
        ("# note\n---\n~\n---\n", &[]),
        ("a: 1\n---\nb: 2", &[json!({"a": 1}), json!({"b": 2})]),
        ("---\na: 1\n...\n---\n# note\n", &[json!({"a": 1})]),
        ("a: 1\r\n--- # note\r\nb: |\r\n  x\r\n", &[json!({"a": 1}), json!({"b": "x\n"})]),
        ("\u{feff}a: 1\n", &[json!({"a": 1})]),
        ("a: 1\rb: 2\u{85}c: 3", &[json!({"a": 1, "b": 2, "c": 3})]),
        ("{\"a\": \"\\/\\ud83d\\ude00\"}{\"b\": 1.0}", &[json!({"a": "/\u{1f600}"}), json!({"b": 1})]),
        ("{\"a\": \"\\ud83dx\"}", &[json!({"a": "\u{fffd}x"})]),
        ("{a: 1}\n---\n{\"b\": 2}\n", &[json!({"a": 1}), json!({"b": 2})]),
        ("- a\n---\ntext\n---\n1\n", &[json!(["a"]), json!("text"), json!(1)]),
        ("a: \"x\u{2028}y\"\n", &[json!({"a": "x\u{2028}y"})]),
    ];
    for (text, expected) in cases {
        let read: Vec<Value> =
            parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).into_iter().map(|d| d.root.into_json()).collect();
        assert_eq!(read, expected, "{text:?}");
    }
}

#[test]
fn merge_keys() {
    let cases = [
        ("x: &x {a: 1}\ngot: {<<: *x, a: 2}\n", json!({"a": 2})),
        ("x: &x {a: 1}\ngot: {a: 2, <<: *x}\n", json!({"a": 1})),
        ("x: &x {a: 1}\nz: &z {a: 2, b: 3}\ngot: {<<: [*x, *z]}\n", json!({"a": 1, "b": 3})),
        ("x: &x {<<: {a: 1}, b: 2}\ngot: {<<: *x, b: 3}\n", json!({"a": 1, "b": 3})),
        ("got: {'<<': {a: 1}}\n", json!({"<<": {"a": 1}})),
        ("got: [<<]\n", json!(["<<"])),
    ];
    for (text, expected) in cases {
        assert_eq!(root(text).to_json()["got"], expected, "{text}");
    }
}

#[test]
fn refusals_say_where_and_what() {
    let cases = [
        ("a: 1\nb: [\n", 2, 4, "unclosed bracket"),
        ("a: b: c\n", 1, 5, "quote the value or align the key"),
        ("a:\n\t- b\n", 2, 2, "tab"),
        ("a: 1\n---\nb: 'x\n", 3, 4, "unclosed quote"),
        ("a: 1\n---\nb: .inf\n", 3, 4, "infinity and not-a-number"),
        ("~: 1\n", 1, 1, "a key is missing or null"),
        ("18446744073709551615: 1\n", 1, 1, "too large to be a key"),
        ("a:\n  ? [b]\n  : c\n", 2, 5, "a list or map cannot be a key"),
        ("a: *b\n", 1, 4, "an anchor that does not exist"),
        ("a: &b [*b]\n", 1, 8, "inside the value that it stands for"),
        ("<<: 1\n", 1, 5, "takes a map"),
        ("a: &x [{b: 1}]\n<<: *x\n", 2, 5, "has to stand for a map"),
        ("a: !!int x\n", 1, 10, "does not fit its tag !!int"),
        ("a: !!binary x\n", 1, 13, "not base64"),
        ("--- a: 1\n", 1, 4, "text behind `---`"),
        ("a: 1\n---x\n", 2, 4, "text behind `---`"),
        ("%YAML 1.2\n---\na: 1\n", 2, 1, "directives"),
        ("a: 1\n...\nb: 2\n", 3, 1, "drops without a word"),
        ("  a: 1\nb: 2\n", 2, 1, "drops without a word"),
        ("...\n", 1, 1, "has not begun"),
        ("a: \u{e9}\u{7}\n", 1, 5, "U+0007 is not allowed; write it as \"\\u0007\""),
        ("a: \"\\/\"\n", 1, 4, "escape `\\/`"),
        ("a: [b?]\n", 1, 5, "inside [] or {}"),
        ("a: x\u{2028}y\n", 1, 4, "U+2028"),
        ("a: 1 # \u{2029}\n", 1, 8, "U+2028 or U+2029"),
        ("a: {b\n  c: d}\n", 1, 5, "on one line"),
        ("{\"a\": 1e400}", 1, 7, "out of the range"),
        ("b: 1\na: &x! 1\n", 2, 4, "the name of an anchor"),
    ];
    for (text, line, column, part) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.position, Position::new(line, column), "{text:?}: {error}");
        assert!(error.message.contains(part), "{text:?}: {error}");
        assert_eq!(error.to_string(), format!("{line}:{column}: {}", error.message));
    }
}

#[test]
fn messages_hold_no_values() {
    let texts = [
        "password: !!int s3cr3t\n",
        "a: \"s3cr3t\n",
        "a: s3cr3t: b: c\n",
        "a: !!binary s3cr3t!\n",
        "a: [s3cr3t?]\n",
        "- {a: s3cr3t\n",
        "a: &s3cr3t! b\n",
    ];
    for text in texts {
        let error = parse(text).expect_err(text);
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }
}

#[test]
fn positions_count_characters() {
    let text = "\
# note
\u{e9}\u{4e2d}: \u{1f600}   # note
list:
- one
-   k: v
    'q': &x \"two\"
block: |

  text
folded:
  # > note
  >-
  text
flow: {a: [b, *x], c: {}}
none:
---
next: here
";
    let documents = parse(text).unwrap();
    let root = &documents[0].root;
    let cases = [
        ("/\u{e9}\u{4e2d}", (2, 1), (2, 5)),
        ("/list", (3, 1), (4, 1)),
        ("/list/0", (4, 3), (4, 3)),
        ("/list/1", (5, 5), (5, 5)),
        ("/list/1/k", (5, 5), (5, 8)),
        ("/list/1/q", (6, 5), (6, 13)),
        ("/block", (7, 1), (7, 8)),
        ("/folded", (10, 1), (12, 3)),
        ("/flow", (14, 1), (14, 7)),
        ("/flow/a", (14, 8), (14, 11)),
        ("/flow/a/1", (14, 15), (14, 15)),
        ("/flow/c", (14, 20), (14, 23)),
        ("/none", (15, 1), (15, 5)),
    ];
    for (pointer, key, value) in cases {
        assert_eq!(root.key_position(pointer), Some(Position::new(key.0, key.1)), "key of {pointer}");
        assert_eq!(root.at(pointer).unwrap().position, Position::new(value.0, value.1), "value of {pointer}");
    }
    assert_eq!(documents[1].root.key_position("/next"), Some(Position::new(17, 1)));
    let json = one("{\n  \"\u{e9}\": 1, \"b\": [\n2]}").root;
    assert_eq!(json.key_position("/b"), Some(Position::new(2, 11)));
    assert_eq!(json.at("/b/0").unwrap().position, Position::new(3, 1));
}

#[test]
fn pointers() {
    let root = root("a/b: {m~n: [x, {'': z}]}\n");
    assert_eq!(root.at("").unwrap(), &root);
    assert_eq!(root.at("/a~1b/m~0n/1/").and_then(Node::as_str), Some("z"));
    for missing in ["a", "/a", "/a~1b/m~0n/2", "/a~1b/m~0n/01", "/a~1b/m~0n/-", "/a~1b/m~0n/0/x", "/a~1b/"] {
        assert_eq!(root.at(missing), None, "{missing}");
        assert_eq!(root.key_position(missing), None, "{missing}");
    }
    assert_eq!(root.key_position(""), None);
    assert_eq!(root.get("a/b").and_then(|node| node.get("m~n")).map(|node| matches!(node.value, Kind::Sequence(_))), Some(true));
}

#[test]
fn warnings() {
    use WarningKind::{BooleanKey, DuplicateKey, MergeReplaces};

    type Expected<'a> = (&'a str, &'a [(WarningKind, u32, u32)]);
    let cases: [Expected<'_>; 9] = [
        ("a: 1\nb: 2\na: 3\n", &[(DuplicateKey, 3, 1)]),
        ("a: 1\na: 2\na: 3\n", &[(DuplicateKey, 2, 1), (DuplicateKey, 3, 1)]),
        ("1: a\n'1': b\n", &[(DuplicateKey, 2, 1)]),
        ("{\"a\": 1, \"a\": 2}", &[(DuplicateKey, 1, 10)]),
        ("on: 1\n", &[(BooleanKey, 1, 1)]),
        ("a: {y: 1, No: 2}\n", &[(BooleanKey, 1, 5), (BooleanKey, 1, 11)]),
        ("true: 1\n'on': 2\n", &[]),
        ("a: &x {b: 1}\nc:\n  b: 2\n  <<: *x\n", &[(MergeReplaces, 4, 3)]),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}\n", &[]),
    ];
    for (text, expected) in cases {
        let found: Vec<_> = one(text).warnings.iter().map(|w| (w.kind, w.position.line, w.position.column)).collect();
        assert_eq!(found, expected, "{text:?}");
    }
    let many: String = vec!["a: 1\n"; 1000].concat();
    assert_eq!(one(&many).warnings.len(), 100);
    let document = one("a: 1\nb: x\na: 2\n");
    assert_eq!(document.root.to_json(), json!({"a": 2, "b": "x"}));
    assert_eq!(document.warnings[0].to_string(), "3:1: the key \"a\" is already on line 1; the last one counts, remove the other");
}

#[test]
fn many_keys_are_compared_too() {
    let mut lines: Vec<String> = (0..500).map(|number| format!("k{number}: {number}\n")).collect();
    lines.push("k7: last\n".to_owned());
    let text = lines.concat();
    let document = one(&text);
    assert_eq!(document.root.get("k7").and_then(Node::as_str), Some("last"));
    assert_eq!(document.warnings.len(), 1);
    assert!(matches!(&document.root.value, Kind::Mapping(entries) if entries.len() == 500));
}

#[test]
fn limits() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let block = |levels: usize| (0..levels).fold(String::new(), |text, level| format!("{text}{}a:\n", " ".repeat(level)));
    let json = |levels: usize| format!("{{\"a\": {}}}", deep(levels - 1));
    for (text, fits) in
        [(deep(127), true), (deep(128), false), (block(127), true), (block(128), false), (json(127), true), (json(128), false)]
    {
        match parse(&text) {
            Ok(documents) => {
                assert!(fits, "{text}");
                let written = documents[0].root.to_json().to_string();
                serde_json::from_str::<Value>(&written).expect("serde_json reads what was read here");
            }
            Err(error) => assert!(!fits && error.message.contains("127 levels"), "{error}"),
        }
    }
    let aliased = "a: &a {b: {c: 1}}\nd: {e: *a}\n";
    assert!(parse_with(aliased, &Limits { depth: 4, ..Limits::default() }).is_ok());
    assert!(parse_with(aliased, &Limits { depth: 3, ..Limits::default() }).is_err());

    let few = Limits { nodes: 10, ..Limits::default() };
    for text in [
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n",
        "{\"a\": [1, 2, 3, 4, 5, 6, 7, 8]}",
        "a: &x [1, 2]\nb: [*x, *x]\n",
        "a: &x &y\n- &z [1, 2, 3, 4]\n",
    ] {
        assert!(parse_with(text, &few).is_err(), "{text}");
    }
    assert!(parse_with("[1, 2, 3, 4, 5]\n", &few).is_ok());

    let error = parse_with("a: 12\n", &Limits { bytes: 5, ..Limits::default() }).unwrap_err();
    assert_eq!(error.to_string(), "1:1: 6 bytes long; at most 5 are read");
}

#[test]
fn aliases_cannot_unfold_without_bound() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in b'b'..=b'j' {
        let (name, below) = (level as char, (level - 1) as char);
        writeln!(text, "{name}: &{name} [{}]", vec![format!("*{below}"); 10].join(", ")).unwrap();
    }
    let error = parse(&text).unwrap_err();
    assert!(error.message.contains("aliases"), "{error}");
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 90].join(", "));
    assert!(parse(&text).unwrap_err().message.contains("bytes of text"));
    // A few aliases in a small document are nothing to refuse.
    assert!(parse("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n").is_ok());
}

#[test]
fn emitted_form() {
    let value = json!({
        "apiVersion": "v1", "bool": "yes", "date": "2024-01-31", "empty": "", "emptyList": [], "emptyMap": {}, "float": 1.5,
        "image": "registry.example.com:5000/shop/web:v1", "int": -3, "list": ["a", ["b", "c"], {"d": 1, "e": [2]}, []], "none": null,
        "number": "0644", "on": true, "quoted": "it's: \"x\"", "script": "#!/bin/sh\necho hi\n", "space": " a", "strip": "a\n\n  b",
        "---key": "---text", "keep": "a\n\n", "indent": "  a\nb\n", "control": "\u{1}\u{2028}", "time": "12:30", "unicode": "\u{e9} \u{1f600}"
    });
    let expected = r#"'---key': '---text'
apiVersion: v1
bool: 'yes'
control: "\x01\u2028"
date: '2024-01-31'
empty: ''
emptyList: []
emptyMap: {}
float: 1.5
image: registry.example.com:5000/shop/web:v1
indent: |2
    a
  b
int: -3
keep: |+
  a

list:
- a
- - b
  - c
- d: 1
  e:
  - 2
- []
none: null
number: '0644'
'on': true
quoted: "it's: \"x\""
script: |
  #!/bin/sh
  echo hi
space: ' a'
strip: |-
  a

    b
time: '12:30'
unicode: é 😀
"#;
    assert_eq!(emit(&value), expected);
    assert_eq!(root(expected).to_json(), value);
}

mod round_trip {
    use kube_yaml::{emit, parse};
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    /// Texts full of what has a meaning in YAML.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z]{0,8}",
            "[-+.0-9_xXobeE:]{0,8}",
            "[ \\t\\na-c#:'\"|>\\-?&*!%@`,\\[\\]{}\\\\\\r]{0,14}",
            "[ \\n\\tab]{0,10}",
            prop::sample::select(vec![
                "yes", "No", "~", "null", ".inf", "<<", "=", "---", "---a", "...", "...a", "- a", "? a", "\u{feff}", "\u{85}", "\u{2028}"
            ])
            .prop_map(str::to_owned),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let float = any::<f64>().prop_filter("neither whole nor infinite", |float| float.is_finite() && float.fract() != 0.0);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            float.prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::from),
                btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_emitted_is_read_back(value in value()) {
            let text = emit(&value);
            let documents = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            let read: Vec<Value> = documents.into_iter().map(|document| document.root.into_json()).collect();
            let expected: Vec<Value> = if value.is_null() { vec![] } else { vec![value] };
            prop_assert_eq!(read, expected, "{}", text);
        }

        #[test]
        fn long_keys_are_read_back(length in 900usize..3000) {
            let value = serde_json::json!({"a".repeat(length): {"\u{1}".repeat(length): 1}});
            let documents = parse(&emit(&value)).unwrap();
            prop_assert_eq!(documents[0].root.to_json(), value);
        }

        #[test]
        fn nothing_panics(text in "[ \\n\\ta-c0-9#:'\"|>\\-?&*!%@`,\\[\\]{}\\\\\\r\u{feff}\u{2028}\u{85}~.<]{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.position.line >= 1 && error.position.column >= 1);
            }
        }
    }
}
