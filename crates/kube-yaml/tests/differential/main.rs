//! kube-yaml against what kubectl itself reads: the same trees, or both refuse.

mod cases;
mod generate;
mod random;
mod reference;

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

/// How the two readers stand to each other on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The same documents.
    Same,
    /// Both refuse.
    BothRefuse,
    /// kubectl drops text behind the end of a document without a word; kube-yaml refuses the stream. This is on purpose.
    DroppedText,
    /// kubectl reads it, kube-yaml refuses.
    OnlyKubectl,
    /// kubectl refuses it, kube-yaml reads.
    OnlyHere,
    /// Both read it, and not the same.
    Different,
}

fn verdict(ours: &Result<Vec<Value>, Error>, theirs: &Answer) -> Verdict {
    match (ours, theirs) {
        (Err(_), Answer::Refused(_)) => Verdict::BothRefuse,
        (Err(_), Answer::Read { trailing: true, .. }) => Verdict::DroppedText,
        (Err(_), Answer::Read { .. }) => Verdict::OnlyKubectl,
        (Ok(_), Answer::Refused(_)) => Verdict::OnlyHere,
        (Ok(_), Answer::Read { trailing: true, .. }) => Verdict::OnlyHere,
        (Ok(ours), Answer::Read { documents, .. }) if ours == documents => Verdict::Same,
        (Ok(_), Answer::Read { .. }) => Verdict::Different,
    }
}

fn read(stream: &str) -> Result<Vec<Value>, Error> {
    parse(stream).map(|documents| documents.iter().map(|document| document.root.to_json()).collect())
}

/// What the comparison of many streams found.
struct Comparison {
    total: usize,
    counts: Vec<(Verdict, usize)>,
    /// The first streams of each sort of disagreement.
    examples: Vec<(Verdict, String)>,
}

impl Comparison {
    fn of(streams: &[String]) -> Self {
        let mut comparison = Self { total: streams.len(), counts: Vec::new(), examples: Vec::new() };
        for (stream, theirs) in streams.iter().zip(reference::ask(streams)) {
            let ours = read(stream);
            let verdict = verdict(&ours, &theirs);
            match comparison.counts.iter_mut().find(|(known, _)| *known == verdict) {
                Some((_, count)) => *count += 1,
                None => comparison.counts.push((verdict, 1)),
            }
            if matches!(verdict, Verdict::OnlyKubectl | Verdict::OnlyHere | Verdict::Different) {
                comparison.examples.push((verdict, stream.clone()));
            }
        }
        comparison
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.counts.iter().find(|(known, _)| *known == verdict).map_or(0, |(_, count)| *count)
    }

    fn report(&self, verdict: Verdict) -> String {
        let mut report = format!("{:?} of {} streams\n", self.counts, self.total);
        for (_, stream) in self.examples.iter().filter(|(known, _)| *known == verdict).take(10) {
            let stream = shrink(stream, verdict);
            let theirs = reference::ask(std::slice::from_ref(&stream));
            report.push_str(&format!("--- {verdict:?}\n{stream:?}\nhere: {:?}\nkubectl: {theirs:?}\n", read(&stream)));
        }
        report
    }
}

/// Takes lines off as long as the two readers disagree in the same way.
fn shrink(stream: &str, wanted: Verdict) -> String {
    let mut stream = stream.to_owned();
    loop {
        let lines: Vec<&str> = stream.split_inclusive('\n').collect();
        let shorter: Vec<String> = (0..lines.len()).map(|at| [&lines[..at], &lines[at + 1..]].concat().concat()).collect();
        let answers = reference::ask(&shorter);
        let found = shorter.iter().zip(&answers).find(|(shorter, theirs)| verdict(&read(shorter), theirs) == wanted);
        match found {
            Some((shorter, _)) => stream = shorter.clone(),
            None => return stream,
        }
    }
}

#[test]
fn mutated() {
    let corpus: Vec<String> = CORPUS.iter().map(|s| (*s).to_owned()).collect();
    let mut random = Random::new(1);
    let streams: Vec<String> = (0..std::env::var("N").map_or(20000, |n| n.parse().unwrap())).map(|_| generate::mutate(&mut random, &corpus)).collect();
    let c = Comparison::of(&streams);
    for v in [Verdict::OnlyKubectl, Verdict::OnlyHere, Verdict::Different] { eprintln!("{}", c.report(v)); }
}
#[test]
fn scal() {
    let mut streams: Vec<String> = Vec::new();
    for s in generate::SCALARS { streams.push(format!("a: {s}\n")); streams.push(format!("{s}: a\n"));  streams.push(format!("- {s}\n")); streams.push(format!("[{s}]\n")); streams.push(format!("{s}\n"));streams.push(format!("{{a: {s}}}\n")); streams.push(format!("a: {s} # x\n"));}
    let c = Comparison::of(&streams);
    for v in [Verdict::OnlyKubectl, Verdict::OnlyHere, Verdict::Different] { eprintln!("{:?}", c.counts); for (k, t) in &c.examples { if *k == v { eprintln!("{t}") } } }
}
#[test]
fn generated() {
    let mut random = Random::new(2);
    let streams: Vec<String> = (0..std::env::var("N").map_or(20000, |n| n.parse().unwrap())).map(|_| generate::document(&mut random)).collect();
    let c = Comparison::of(&streams);
    for v in [Verdict::OnlyKubectl, Verdict::OnlyHere, Verdict::Different] { eprintln!("{}", c.report(v)); }
}
