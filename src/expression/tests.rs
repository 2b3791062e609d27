#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn widget() -> Value {
    json!({
        "apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": "a", "generation": 2, "labels": {"tier": "gold"}},
        "spec": {"size": 3, "share": 0.5, "suspend": false},
        "status": {"phase": "Running", "ready": 3, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False", "message": "no water"}]},
        "rules": [1, 2],
    })
}

fn asked(text: &str) -> Result<bool, String> {
    Expression::compile(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}")).holds(&widget())
}

#[test]
fn expressions_see_the_fields_of_the_object() {
    for text in [
        "status.phase == 'Running'",
        "status.ready == spec.size && metadata.generation > 1",
        "status.ready + 1 == 4",
        "spec.share < 1",
        "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
        "status.conditions.exists(c, c.type == 'Synced' && c.message.contains('water'))",
        "status.conditions.exists_one(c, c.status == 'True')",
        "status.conditions.map(c, c.type) == ['Ready', 'Synced']",
        "!has(status.missing)",
        "status.?missing.orValue(7) == 7",
        "!status.?missing.hasValue()",
        "status[?'ready'].optMap(ready, ready > 2).orValue(false)",
        "optional.of(1).value() == 1",
        "self.rules.size() == 2 && size(object.rules) == 2",
        "metadata.labels['tier'].matches('^g.*d$')",
        "'tier' in metadata.labels",
        "kind == 'Widget' && apiVersion.startsWith('example.org/') && apiVersion.endsWith('v1')",
        "type(status.ready) == int && string(status.ready) == '3'",
        "spec.suspend ? false : {'a': status.ready}['a'] == 3",
        "[1, 2].map(n, [3, 4].map(m, n * m)) == [[3, 4], [6, 8]]",
    ] {
        assert_eq!(asked(text), Ok(true), "{text}");
    }
    assert_eq!(asked("status.phase == 'Failed'"), Ok(false));
}

#[test]
fn what_cannot_be_told_says_why_and_quotes_no_value() {
    for (text, expected) in [
        ("status.missing == 1", "there is no missing"),
        ("data.x == 1", "there is no data"),
        ("has(data.x)", "there is no data"),
        ("metadata.labels[status.phase] == ''", "there is no such key"),
        ("status.conditions[7].type == 'Ready'", "a list has fewer items than it needs"),
        ("status.phase", "it is neither true nor false"),
        ("status.phase > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("status.phase.all(c, true)", "a value is not of the kind that it needs"),
        ("status.ready / 0 == 1", "it divides by zero"),
        ("int(status.phase) == 1", "a value is not of the kind that it needs"),
    ] {
        assert_eq!(asked(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn mistakes_are_found_without_an_object_and_have_a_place() {
    for (text, expected) in [
        ("status.", "1:8"),
        ("status.ready ==", "1:16"),
        (
            "stats.ready == 1",
            "1:1: unknown variable stats; known are apiVersion, kind, metadata, spec, status, data, self, object, and any other field of the object as self.stats",
        ),
        ("true &&\n  ready", "2:3: unknown variable ready;"),
        ("status.conditions.all(c, d.type == '')", "1:26: unknown variable d;"),
        ("status.conditions.all(c, true) && c.type == ''", "1:35: unknown variable c;"),
        ("status.conditions.all(c)", "all() has another number of arguments"),
        ("now() > status.since", "unknown function now();"),
        ("status.phase.lower() == ''", "unknown function lower();"),
        ("optional.maybe(1).hasValue()", "unknown function maybe();"),
        ("Widget{size: 1} == self", "there is no type Widget"),
        ("status.ready ~ 1", "1:14"),
        ("", "1:1"),
    ] {
        let mistake = Expression::compile(text).unwrap_err();
        let shown = format!("{}:{}: {}", mistake.line, mistake.column, mistake.message);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn size_and_depth_have_a_bound() {
    let long = format!("true || {:>LENGTH_MAX$}", "true");
    assert!(Expression::compile(&long).unwrap_err().message.contains("longer than 4096 bytes"));
    for deep in ["(".repeat(2000) + "1" + &")".repeat(2000), "1+".repeat(2000) + "1 == 1", "self".to_owned() + &".a".repeat(2000)] {
        assert!(Expression::compile(&deep).is_err(), "{}", &deep[..20]);
    }
    let wide = vec!["status.ready == 3"; 60].join(" && ");
    assert_eq!(asked(&wide), Ok(true));
}

#[test]
fn cost_has_a_bound_however_it_is_run_up() {
    let items: Vec<Value> = (0..2_000).map(|n| json!({"n": n, "text": "x".repeat(50)})).collect();
    let object = json!({"status": {"items": items}});
    let all = "status.items.all(a, status.items.all(b, ";
    for text in [
        format!("{all} a.n + b.n >= 0))"),
        format!("{all} true)) || {all} true))"),
        "status.items.all(a, self == self)".to_owned(),
        "status.items.all(a, [self].size() == 1)".to_owned(),
        "status.items.all(a, {'a': self}.size() == 1)".to_owned(),
        "status.items.all(a, (status.items + status.items).size() > 0)".to_owned(),
        "status.items.all(a, self.?status.hasValue())".to_owned(),
        "[optional.of(self)].all(o, status.items.all(a, [o].size() == 1))".to_owned(),
        "status.items.map(a, status.items).size() > 0".to_owned(),
        "status.items.all(a, a.text.matches('^(x{5}){5}') || false)".to_owned(),
    ] {
        let answer = Expression::compile(&text).unwrap().holds(&object);
        assert_eq!(answer, Err("it takes too long on an object of this size".to_owned()), "{text}");
    }
    // What people write is far from it.
    assert_eq!(Expression::compile("status.items.all(a, a.n >= 0 && a.text != '')").unwrap().holds(&object), Ok(true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A file of the repository may hold anything.
    #[test]
    fn no_text_is_more_than_a_mistake(words in prop::collection::vec(prop::sample::select(vec![
        "status", "self", "a", ".", ".?", "[", "]", "[?", "(", ")", "{", "}", ",", ":", "?", "&&", "||", "!", "-", "==", "+", "in", "1", "1u", "0x", "'x'", "\"",
        "'''", "b'\\xff'", "r'", "\\", "null", "true", "has", "all", "map", "exists", "size", "optional", "of", "optMap", "conditions", "`", "@count", "é", "\n", "//",
    ]), 0..24)) {
        let mut text = String::new();
        for word in words {
            write!(text, "{word}").unwrap();
        }
        if let Ok(expression) = Expression::compile(&text) {
            drop(expression.holds(&widget()));
        }
    }
}
