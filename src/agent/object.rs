//! What is known of one object of a cluster: what Git says, from the mirror, and what was done to it, from the ledger.

use super::RecordedAnswers;
use crate::{
    codes,
    diagnostic::{Diagnostic, ErrorAnswer, Place},
    git::{CommitId, GitError, Store},
    layout,
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
    let desired = evidence.status.clusters.iter().find(|standing| standing.name == cluster).and_then(|standing| standing.desired);
    let rendering = match desired {
        Some(desired) => render(answers, cluster, desired).map_err(|error| ErrorAnswer::from(&error)),
        None => Ok(Rendering::nothing()),
    };
    let wanted = || rendering.iter().flat_map(|rendering| &rendering.objects);
    let standing: Vec<ObjectId> = known(evidence, cluster).filter_map(|id| id.parse().ok()).collect();
    let mut object = ObjectEvidence { asked: asked.to_owned(), ..ObjectEvidence::default() };
    match meant(&query, asked, wanted().map(|object| &object.id).chain(&standing)) {
        Meant::Several(names) => {
            let error = refuse(format!("{asked} can mean several objects of {cluster}"));
            return Err(error.with_hint(format!("Name one of them: {}.", names.join(", "))));
        }
        Meant::None(near) => object.near = near,
        Meant::One(id) => {
            let text = id.to_string();
            object.wanted = wanted().find(|wanted| wanted.id == id).map(|wanted| told(wanted));
            object.standing = evidence.content.objects.iter().find(|standing| standing.id == text).map(|standing| standing.bundle.clone());
            object.ends = answers.reader().object_ends(cluster, &text)?;
            object.id = Some(text);
        }
    }
    object.unrendered = rendering.err();
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

/// What a cluster must run at a commit. It takes as long as a look at that one cluster does, and only who asks about an object waits.
fn render(answers: &RecordedAnswers, cluster: &str, commit: CommitId) -> Result<Rendering, Diagnostic> {
    let git = |error: GitError| error.diagnostic();
    let tree = Store::open_mirror(&answers.mirror, "").map_err(git)?.tree(commit).map_err(git)?;
    let first = |problems: Vec<Diagnostic>| {
        let nothing = || Diagnostic::new(codes::DEFECT, Place::Nowhere, "refused without a reason");
        problems.into_iter().next().unwrap_or_else(nothing)
    };
    let fleet = layout::read(&tree).map_err(first)?;
    let Some(entry) = fleet.cluster(cluster) else { return Ok(Rendering::nothing()) };
    let facts = answers.reader().facts(cluster)?.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    // Neither the digests nor the fleet's marks are told, so that any key and namespace will do.
    let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
    renderer.render_alone(&tree, &fleet, entry, &facts).map_err(first)
}

fn told(object: &RenderedObject) -> Wanted {
    Wanted {
        bundle: object.bundle.to_string(),
        place: object.origin.place().to_string(),
        given_up: object.given_up.as_ref().map(|given_up| given_up.pointers.clone()).unwrap_or_default(),
    }
}
