//! kube-yaml against what kubectl itself reads: the same trees, or both refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod cases;
mod generate;
mod random;
mod reference;

use std::collections::BTreeMap;
use std::fmt::Write;

use kube_yaml::{Error, parse};
use serde_json::Value;

use random::Random;
use reference::Answer;

const CORPUS: &[&str] = &[
    include_str!("corpus/anchors.yaml"),
    include_str!("corpus/config.yaml"),
    include_str!("corpus/crd.yaml"),
    include_str!("corpus/ingress.yaml"),
    include_str!("corpus/jobs.yaml"),
    include_str!("corpus/kustomization.yaml"),
    include_str!("corpus/objects.json"),
    include_str!("corpus/odd.yaml"),
    include_str!("corpus/rbac.yaml"),
    include_str!("corpus/web.yaml"),
    include_str!("corpus/windows.yaml"),
];

/// What kube-yaml refuses and kubectl reads. The README lists them for users.
struct Stricter {
    /// Part of kube-yaml's message.
    message: &'static str,
    why: &'static str,
    example: &'static str,
}

const STRICTER: &[Stricter] = &[
    Stricter { message: "comments must be separated", why: "a comment right behind a quote or bracket", example: "a: \"b\"#c\n" },
    Stricter {
        message: "simple key expected ':'",
        why: "`|` or `>` on a line of its own at the column of its key",
        example: "a:\n|\n  b\n",
    },
    Stricter { message: "U+2028 or U+2029", why: "line separators outside quotes or next to blanks", example: "[a\u{2028}b]\n" },
    Stricter { message: "found unknown escape character", why: "the escape \\' in double quotes", example: "a: \"\\'\"\n" },
    Stricter { message: "cannot start with '-'", why: "a lone dash as a value in brackets", example: "[-]\n" },
    Stricter { message: "a tab in the indentation", why: "tabs before a line inside brackets or braces", example: "a: {\n\tb: c\n}\n" },
    Stricter { message: "this colon belongs to the key", why: "{a:,b}, where kubectl reads the key `a:`", example: "{a:,b}\n" },
    Stricter { message: "kubectl refuses `?`", why: "[?a], where kubectl reads a key", example: "[?a]\n" },
    Stricter { message: "has to follow a tag", why: "a comma or bracket in a tag", example: "[!a, b]\n" },
    Stricter { message: "expected whitespace or line break", why: "a comma or bracket in a tag", example: "a: !x]y b\n" },
    Stricter { message: "expected tag URI", why: "a comma or bracket in a tag", example: "a: !!]b\n" },
    Stricter { message: "a byte order mark", why: "a byte order mark at the start of a line", example: "a: |\n  b\n\u{feff}c: d\n" },
    Stricter { message: "does not exist", why: "an alias with a colon right behind it as a key", example: "a: &x b\nc:\n  *x:\n" },
    Stricter {
        message: "infinity and not-a-number",
        why: "what is not JSON under a key that a later one replaces",
        example: "a: .nan\na: 1\n",
    },
    Stricter { message: "missing or null", why: "what is not JSON under a key that a later one replaces", example: "a: {~: b}\na: 1\n" },
    Stricter {
        message: "the name of an anchor",
        why: "what is not JSON under a key that a later one replaces",
        example: "a: [&x: b]\na: 1\n",
    },
    Stricter {
        message: "that cannot be a key",
        why: "what is not JSON under a key that a later one replaces",
        example: "b: &x\na: {*x : 1}\na: 1\n",
    },
    Stricter {
        message: "too large to be a key",
        why: "what is not JSON under a key that a later one replaces",
        example: "a: {18446744073709551615: b}\na: 1\n",
    },
];

/// How the two readers stand to each other on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The same documents.
    Same,
    /// Both refuse.
    BothRefuse,
    /// kubectl drops text behind the end of a document without a word; kube-yaml refuses the stream. This is on purpose.
    DroppedText,
    /// kube-yaml refuses what kubectl reads; which entry of `STRICTER` says why.
    Stricter(usize),
    /// kubectl begins a stream with `{` as JSON and refuses comments and `...` behind it, and YAML of less than four bytes;
    /// kube-yaml reads it as YAML.
    AfterJson,
    /// As [`Verdict::Stricter`], for no known reason.
    Refused,
    /// kubectl refuses it, kube-yaml reads.
    OnlyHere,
    /// Both read it, and not the same.
    Different,
}

fn verdict(stream: &str, theirs: &Answer) -> Verdict {
    match (read(stream), theirs) {
        (Err(_), Answer::Refused(_)) => Verdict::BothRefuse,
        (Err(_), Answer::Read { trailing: true, .. }) => Verdict::DroppedText,
        (Err(error), Answer::Read { .. }) => {
            STRICTER.iter().position(|known| error.message.contains(known.message)).map_or(Verdict::Refused, Verdict::Stricter)
        }
        (Ok(_), Answer::Refused(reason)) => {
            let gives_up = stream.len() < 4 || reason.contains("character '#'") || reason.contains("character '.'");
            if stream.trim_start().starts_with('{') && gives_up { Verdict::AfterJson } else { Verdict::OnlyHere }
        }
        (Ok(_), Answer::Read { trailing: true, .. }) => Verdict::OnlyHere,
        (Ok(ours), Answer::Read { documents, .. }) if ours == *documents => Verdict::Same,
        (Ok(_), Answer::Read { .. }) => Verdict::Different,
    }
}

/// Whether kubectl reads a stream as kube-yaml does in one of several tries: of the keys `1` and `"1"`, which are one in JSON, the
/// order of a Go map decides.
fn reads_at_times(stream: &str) -> bool {
    let tries = vec![stream.to_owned(); 32];
    reference::ask(&tries).iter().any(|theirs| verdict(stream, theirs) == Verdict::Same)
}

fn read(stream: &str) -> Result<Vec<Value>, Error> {
    parse(stream).map(|documents| documents.iter().map(|document| document.root.to_json()).collect())
}

/// What the comparison of many streams found.
struct Comparison {
    total: usize,
    streams: BTreeMap<Verdict, Vec<String>>,
}

impl Comparison {
    fn of(streams: Vec<String>) -> Self {
        let mut comparison = Self { total: streams.len(), streams: BTreeMap::new() };
        let answers = reference::ask(&streams);
        for (stream, theirs) in streams.into_iter().zip(answers) {
            let mut verdict = verdict(&stream, &theirs);
            if verdict == Verdict::Different && reads_at_times(&stream) {
                verdict = Verdict::Same;
            }
            comparison.streams.entry(verdict).or_default().push(stream);
        }
        comparison
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.streams.get(&verdict).map_or(0, Vec::len)
    }

    fn stricter(&self) -> usize {
        (0..STRICTER.len()).map(|reason| self.count(Verdict::Stricter(reason))).sum()
    }

    /// The counts, and the first streams of some verdicts, shortened, with both answers.
    fn report(&self, verdicts: &[Verdict]) -> String {
        let mut report = format!("{} streams:", self.total);
        for (verdict, streams) in &self.streams {
            let name = match verdict {
                Verdict::Stricter(reason) => format!("stricter ({})", STRICTER[*reason].why),
                other => format!("{other:?}"),
            };
            write!(report, " {name} {},", streams.len()).unwrap();
        }
        for verdict in verdicts {
            for stream in self.streams.get(verdict).into_iter().flatten().take(5) {
                let stream = shrink(stream, *verdict);
                let theirs = reference::ask(std::slice::from_ref(&stream));
                write!(report, "\n{verdict:?}: {stream:?}\n  here: {:?}\n  kubectl: {theirs:?}", read(&stream)).unwrap();
            }
        }
        report
    }

    /// No disagreement but the known ones.
    fn assert_known(&self) {
        let unknown = [Verdict::Refused, Verdict::OnlyHere, Verdict::Different];
        assert!(unknown.iter().all(|verdict| self.count(*verdict) == 0), "{}", self.report(&unknown));
    }
}

/// Takes lines off as long as the two readers disagree in the same way.
fn shrink(stream: &str, wanted: Verdict) -> String {
    let mut stream = stream.to_owned();
    loop {
        let lines: Vec<&str> = stream.split_inclusive('\n').collect();
        let shorter: Vec<String> = (0..lines.len()).map(|at| [&lines[..at], &lines[at + 1..]].concat().concat()).collect();
        let answers = reference::ask(&shorter);
        let found = shorter.iter().zip(&answers).find(|(shorter, theirs)| verdict(shorter, theirs) == wanted);
        match found {
            Some((shorter, _)) => stream.clone_from(shorter),
            None => return stream,
        }
    }
}

#[test]
fn the_corpus_is_read_alike() {
    let comparison = Comparison::of(CORPUS.iter().map(|stream| (*stream).to_owned()).collect());
    assert_eq!(comparison.count(Verdict::Same), CORPUS.len(), "{}", comparison.report(&[Verdict::BothRefuse, Verdict::Different]));
}

#[test]
fn what_is_stricter_is_so_for_the_known_reason() {
    let examples: Vec<String> = STRICTER.iter().map(|known| known.example.to_owned()).collect();
    for (reason, (example, theirs)) in examples.iter().zip(reference::ask(&examples)).enumerate() {
        assert_eq!(verdict(example, &theirs), Verdict::Stricter(reason), "{example:?}: {:?}, {theirs:?}", read(example));
    }
}

#[test]
fn hard_cases_are_read_alike() {
    assert!(cases::AGREED.len() >= 150, "{} cases", cases::AGREED.len());
    let comparison = Comparison::of(cases::AGREED.iter().map(|stream| (*stream).to_owned()).collect());
    comparison.assert_known();
    let stricter: Vec<Verdict> = (0..STRICTER.len()).map(Verdict::Stricter).collect();
    assert_eq!(comparison.stricter(), 0, "{}", comparison.report(&stricter));
    // Neither reader may refuse or read everything.
    assert!(comparison.count(Verdict::Same) > 250 && comparison.count(Verdict::BothRefuse) > 100, "{}", comparison.report(&[]));
}

#[test]
fn scalars_are_read_alike_wherever_they_stand() {
    let mut streams = Vec::new();
    for scalar in generate::SCALARS {
        let places = [
            format!("a: {scalar}\n"),
            format!("{scalar}: a\n"),
            format!("- {scalar}\n"),
            format!("- - {scalar} # note\n"),
            format!("a:\n  {scalar}\n"),
            format!("[{scalar}]\n"),
            format!("a: [{scalar}, b]\n"),
            format!("a: {{b: {scalar}}}\n"),
            format!("? {scalar}\n: a\n"),
            format!("a: &x {scalar}\nb: *x\n"),
            (*scalar).to_owned(),
        ];
        streams.extend(places);
    }
    let comparison = Comparison::of(streams);
    comparison.assert_known();
    assert!(comparison.stricter() <= 40, "{}", comparison.report(&[]));
}

#[test]
fn mutated_manifests_are_read_alike() {
    const STREAMS: usize = 30_000;
    let corpus: Vec<String> = CORPUS.iter().map(|stream| (*stream).to_owned()).collect();
    let mut random = Random::new(20_240_131);
    let comparison = Comparison::of((0..STREAMS).map(|_| generate::mutate(&mut random, &corpus)).collect());
    comparison.assert_known();
    // One in a thousand, as the README says.
    let known = comparison.stricter() + comparison.count(Verdict::AfterJson);
    assert!(known <= STREAMS / 1000, "{}", comparison.report(&[]));
    assert!(comparison.count(Verdict::Same) > STREAMS / 3, "{}", comparison.report(&[]));
}

#[test]
fn generated_documents_are_read_alike() {
    const STREAMS: usize = 30_000;
    let mut random = Random::new(7);
    let comparison = Comparison::of((0..STREAMS).map(|_| generate::document(&mut random)).collect());
    comparison.assert_known();
    // They are made of the very scalars that are read differently.
    let known = comparison.stricter() + comparison.count(Verdict::AfterJson);
    assert!(known <= STREAMS / 50, "{}", comparison.report(&[]));
    assert!(comparison.count(Verdict::Same) > STREAMS / 4, "{}", comparison.report(&[]));
}

#[test]
fn kubectl_reads_what_is_emitted() {
    let mut random = Random::new(11);
    let values: Vec<Value> = (0..3_000).map(|_| generate::value(&mut random, 3)).filter(|value| !value.is_null()).collect();
    let streams: Vec<String> = values.iter().map(kube_yaml::emit).collect();
    for ((value, stream), answer) in values.iter().zip(&streams).zip(reference::ask(&streams)) {
        match answer {
            Answer::Read { documents, trailing: false } => assert_eq!(documents, std::slice::from_ref(value), "{stream}"),
            other => panic!("{other:?}\n{stream}"),
        }
    }
}
