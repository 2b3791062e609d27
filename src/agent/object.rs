//! What is known of one object of a cluster: what Git says, from the mirror, and what was done to it, from the ledger.

use super::RecordedAnswers;
use crate::{
    codes,
    diagnostic::{Diagnostic, ErrorAnswer, Place},
    git::{CommitId, GitError, GitTree, Store},
    layout::{self, Fleet},
    ledger::{Evidence, ObjectEvidence, Wanted},
    manifest::{DigestKey, ObjectId, ObjectQuery},
    render::{RenderedObject, Renderer, Rendering},
    why::{Meant, meant},
};

/// Looks up the object that is asked for. EK6010 where several can be meant, or the text names no object.
pub(super) fn of_object(answers: &RecordedAnswers, evidence: &Evidence, asked: &str) -> Result<ObjectEvidence, Diagnostic> {
    let refuse = |message: String| Diagnostic::new(codes::NO_OBJECT, Place::Nowhere, message);
    let query: ObjectQuery = asked.parse().map_err(|error: crate::manifest::BadObjectQuery| refuse(error.to_string()))?;
    let cluster = evidence.cluster.as_str();
    let row = evidence.status.clusters.iter().find(|standing| standing.name == cluster);
    let is_meant = |id: &str| id.parse::<ObjectId>().is_ok_and(|id| query.matches(&id));
    let bundle = evidence.content.objects.iter().find(|standing| is_meant(&standing.id)).map(|standing| standing.bundle.as_str());
    let commit = row.and_then(|standing| standing.stands_at(bundle));
    let given = match commit {
        Some(commit) => Given::at(answers, cluster, commit).map_err(|error| ErrorAnswer::from(&error)),
        None => Ok(None),
    };
    let rendered = given.as_ref().ok().and_then(Option::as_ref);
    let wanted = || rendered.into_iter().flat_map(|given| &given.rendering.objects);
    let standing: Vec<ObjectId> = known(evidence, cluster).filter_map(|id| id.parse().ok()).collect();
    let mut object = ObjectEvidence { asked: asked.to_owned(), commit, ..ObjectEvidence::default() };
    match meant(&query, asked, wanted().map(|object| &object.id).chain(&standing)) {
        Meant::Several(names) => {
            let error = refuse(format!("{asked} can mean several objects of {cluster}"));
            return Err(error.with_hint(format!("Name one of them: {}.", names.join(", "))));
        }
        Meant::None(near) => object.near = near,
        Meant::One(id) => {
            let text = id.to_string();
            let found = rendered.and_then(|given| Some((given, given.rendering.objects.iter().find(|wanted| wanted.id == id)?)));
            object.wanted = found.map(|(given, wanted)| given.told(cluster, wanted));
            object.standing = evidence.content.objects.iter().find(|standing| standing.id == text).map(|standing| standing.bundle.clone());
            object.ends = answers.reader().object_ends(cluster, &text)?;
            object.id = Some(text);
        }
    }
    object.unrendered = given.err();
    Ok(object)
}

/// The objects of a cluster that the record names: those that stand there, those that are about to go, and the one that is in trouble.
fn known<'e>(evidence: &'e Evidence, cluster: &str) -> impl Iterator<Item = &'e str> {
    let error = evidence.status.clusters.iter().find(|standing| standing.name == cluster).and_then(|standing| standing.error.as_ref());
    let in_trouble = error.and_then(|error| error.message.split_once(": ")).map(|(object, _)| object);
    let held = evidence.content.held.iter().map(|held| held.id.as_str());
    let ailing = evidence.ailing.iter().map(|ailing| ailing.object.as_str());
    evidence.content.objects.iter().map(|object| object.id.as_str()).chain(held).chain(ailing).chain(in_trouble)
}

/// What a commit gives for a cluster.
struct Given {
    tree: GitTree,
    fleet: Fleet,
    renderer: Renderer,
    rendering: Rendering,
}

impl Given {
    /// None where the commit does not have the cluster. It takes as long as a look at that one cluster does, and only who asks about an
    /// object waits.
    fn at(answers: &RecordedAnswers, cluster: &str, commit: CommitId) -> Result<Option<Self>, Diagnostic> {
        let git = |error: GitError| error.diagnostic();
        let tree = Store::open_mirror(&answers.mirror, "").map_err(git)?.tree(commit).map_err(git)?;
        let first = |problems: Vec<Diagnostic>| {
            let nothing = || Diagnostic::new(codes::DEFECT, Place::Nowhere, "refused without a reason");
            problems.into_iter().next().unwrap_or_else(nothing)
        };
        let fleet = layout::read(&tree).map_err(first)?;
        let Some(entry) = fleet.cluster(cluster) else { return Ok(None) };
        let facts = answers.reader().facts(cluster)?.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        // Neither the digests nor the fleet's marks are told, so that any key and namespace will do.
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        let rendering = renderer.render_alone(&tree, &fleet, entry, &facts).map_err(first)?;
        Ok(Some(Self { tree, fleet, renderer, rendering }))
    }

    fn told(&self, cluster: &str, object: &RenderedObject) -> Wanted {
        let Self { tree, fleet, renderer, .. } = self;
        Wanted {
            bundle: object.bundle.to_string(),
            place: object.origin.place().to_string(),
            changed_at: fleet.cluster(cluster).map(|entry| renderer.changed_at(tree, fleet, entry, object)).unwrap_or_default(),
            given_up: object.given_up.as_ref().map(|given_up| given_up.pointers.clone()).unwrap_or_default(),
        }
    }
}
