//! What is wrong with a repository, whatever it is shown as.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    git::Source,
    layout::{self, Cluster, Fleet, HealthRule, HealthRules, sort_problems},
    manifest::{DigestKey, GroupKind},
    render::{Facts, RenderedObject, Renderer, Rendering, Validator, component_of},
};

/// All that was found: first what refuses clusters, then what is only doubtful, both by place.
pub(super) struct Findings {
    /// The clusters of the repository; none if it could not be told which there are.
    pub(super) clusters: Option<Vec<String>>,
    pub(super) list: Vec<Finding>,
}

/// One mistake or doubt.
pub(super) struct Finding {
    pub(super) problem: Diagnostic,
    pub(super) severity: Severity,
    /// The clusters that it refuses.
    pub(super) refused: Vec<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// It fails the check, and refuses clusters if any read the file.
    Error,
    /// It fails the check with `--strict` alone.
    Warning,
}

impl Severity {
    /// The word for it in every form of the answer.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Findings {
    /// Reads the whole repository and renders every cluster of it.
    pub(super) fn of(source: &dyn Source, namespace: &str) -> Self {
        let fleet = match layout::read(source) {
            Ok(fleet) => fleet,
            Err(errors) => return Self::new(None, errors, Vec::new(), &HashMap::new()),
        };
        let mut errors = fleet.problems.clone();
        let mut warnings = fleet.warnings.clone();
        let mut idle = Idle::default();
        let mut bundles = Bundles::default();
        let mut refused: HashMap<String, Vec<String>> = HashMap::new();
        // Digests are not shown, so that any key will do.
        let renderer = Renderer::new(namespace, DigestKey::new([0; 32]));
        let validator = Validator::new(source);
        for cluster in &fleet.clusters {
            // With mistakes in its layout a cluster is not rendered; here the others are wanted as well.
            let readable = Cluster { problems: Vec::new(), ..cluster.clone() };
            let mut mistakes = cluster.problems.clone();
            idle.inclusions.note(renderer.components(source, &fleet, &readable));
            match renderer.render(source, &fleet, &readable, &Facts::default()) {
                Ok(rendering) => {
                    let validated = validator.validate(&rendering, &Facts::default());
                    warnings.extend(rendering.warnings.iter().cloned().chain(validated.warnings));
                    // The server of each cluster has the last word on these; they refuse nothing by themselves.
                    errors.extend(validated.problems);
                    idle.note(&rendering.idle);
                    idle.note(&unused_rules(&fleet.spec.health, &rendering));
                    bundles.note(&rendering);
                }
                Err(more) => {
                    bundles.unknown = true;
                    mistakes.extend(more);
                }
            }
            sort_problems(&mut mistakes);
            for mistake in mistakes {
                refused.entry(mistake.to_string()).or_default().push(cluster.name.clone());
                errors.push(mistake);
            }
        }
        if !fleet.clusters.is_empty() && !errors.iter().any(is_of_overlay) {
            warnings.extend(idle.inclusions.without(&fleet));
        }
        warnings.extend(idle.everywhere(&fleet.clusters));
        warnings.extend(bundles.empty());
        let clusters = fleet.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        Self::new(Some(clusters), errors, warnings, &refused)
    }

    fn new(
        clusters: Option<Vec<String>>,
        mut errors: Vec<Diagnostic>,
        mut warnings: Vec<Diagnostic>,
        refused: &HashMap<String, Vec<String>>,
    ) -> Self {
        sort_problems(&mut errors);
        sort_problems(&mut warnings);
        let finding = |severity| {
            move |problem: Diagnostic| Finding {
                refused: refused.get(&problem.to_string()).cloned().unwrap_or_default(),
                problem,
                severity,
            }
        };
        let mut list: Vec<Finding> = errors.into_iter().map(finding(Severity::Error)).collect();
        list.extend(warnings.into_iter().map(finding(Severity::Warning)).map(|finding| Finding { refused: Vec::new(), ..finding }));
        Self { clusters, list }
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().filter(|finding| finding.severity == Severity::Error)
    }

    pub(super) fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().filter(|finding| finding.severity == Severity::Warning)
    }

    /// Whether the finding refuses the fleet, clusters that nobody could tell included.
    pub(super) fn refuses_fleet(&self, finding: &Finding) -> bool {
        match &self.clusters {
            None => finding.severity == Severity::Error,
            Some(clusters) => clusters.len() > 1 && clusters.len() == finding.refused.len(),
        }
    }
}

/// What does nothing, and for how many clusters. What one cluster of several needs is no mistake.
#[derive(Default)]
struct Idle {
    found: HashMap<String, (Diagnostic, usize)>,
    inclusions: Inclusions,
}

impl Idle {
    fn note(&mut self, found: &[Diagnostic]) {
        for problem in found {
            self.found.entry(problem.to_string()).or_insert_with(|| (problem.clone(), 0)).1 += 1;
        }
    }

    /// What does nothing for any cluster that reads it. A cluster that could not be rendered might need it.
    fn everywhere(self, clusters: &[Cluster]) -> impl Iterator<Item = Diagnostic> {
        let readers = move |place: &Place| match component_of(place) {
            Some(component) => self.inclusions.0.get(component).copied().unwrap_or_default(),
            None => readers(place, clusters),
        };
        self.found.into_values().filter(move |(problem, count)| *count >= readers(&problem.place)).map(|(problem, _)| problem)
    }
}

/// How many clusters include each component.
#[derive(Default)]
struct Inclusions(BTreeMap<String, usize>);

impl Inclusions {
    fn note(&mut self, components: BTreeSet<String>) {
        for component in components {
            *self.0.entry(component).or_default() += 1;
        }
    }

    /// Warnings of the components that no cluster includes.
    fn without(&self, fleet: &Fleet) -> impl Iterator<Item = Diagnostic> {
        let unused = fleet.components.iter().filter(|component| !self.0.contains_key(&component.path));
        unused.map(|component| Diagnostic::new(codes::IDLE, Place::file(&*component.path), "no cluster includes this component"))
    }
}

/// Whether a mistake is one of an overlay.yaml: what that includes is not known then.
fn is_of_overlay(problem: &Diagnostic) -> bool {
    matches!(&problem.place, Place::File { path, .. } if path.ends_with("/overlay.yaml"))
}

/// Bundles that have objects in a cluster, and those that have none.
#[derive(Default)]
struct Bundles {
    used: BTreeSet<String>,
    empty: Vec<(String, Diagnostic)>,
    /// Whether there are clusters of which it is not known.
    unknown: bool,
}

impl Bundles {
    fn note(&mut self, rendering: &Rendering) {
        self.used.extend(rendering.bundles.keys().cloned());
        self.empty.extend(rendering.empty.iter().map(|(bundle, problem)| (bundle.to_string(), problem.clone())));
    }

    /// Warnings of bundles that have no objects in any cluster.
    fn empty(self) -> impl Iterator<Item = Diagnostic> {
        let Self { used, empty, unknown } = self;
        empty.into_iter().filter(move |(bundle, _)| !unknown && !used.contains(bundle)).map(|(_, problem)| problem)
    }
}

/// Health rules for kinds of which there is no object.
fn unused_rules(fleet: &HealthRules, rendering: &Rendering) -> Vec<Diagnostic> {
    let unused = |(kind, rule): (&GroupKind, &HealthRule), concerns: &dyn Fn(&RenderedObject) -> bool| {
        let used = rendering.objects.iter().any(|object| object.id.is(&kind.group, &kind.kind) && concerns(object));
        let problem = || Diagnostic::new(codes::IDLE, rule.current.place.clone(), format!("there is no {kind} for this health rule"));
        (!used).then(problem)
    };
    let of_bundles = rendering
        .bundles
        .iter()
        .flat_map(|(bundle, settings)| settings.health.iter().filter_map(move |rule| unused(rule, &|object| *object.bundle == **bundle)));
    fleet.iter().filter_map(|rule| unused(rule, &|_| true)).chain(of_bundles).collect()
}

/// How many clusters read a file of no component. What lies in no layer may be read by all.
fn readers(place: &Place, clusters: &[Cluster]) -> usize {
    let Place::File { path, .. } = place else { return clusters.len() };
    let holds = |layer: &layout::Layer| path.strip_prefix(layer.path.as_str()).is_some_and(|rest| rest.starts_with('/'));
    match clusters.iter().filter(|cluster| cluster.layers.iter().any(holds)).count() {
        0 => clusters.len(),
        readers => readers,
    }
}
