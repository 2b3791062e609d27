//! What a sync would do to a cluster, as its API server says: what `evenkeel diff` answers. Values in, values out.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use kube_overlay::Table;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Delete, Fate, Field},
    fields::{definitions, differing},
};
use crate::{
    git::CommitId,
    ledger::answers::ErrorAnswer,
    manifest::{Drift, Hook, ObjectId},
    render::Rendering,
    sync::{
        Departure,
        plan::drift_mode,
        preview::{Leaving, Previewed, Standing, Tried, content},
    },
};

/// Bytes of field values in one answer, about; what comes after names its object and no fields.
pub const FIELDS_LEN_MAX: usize = 32 << 20;

/// What a sync would do to one cluster. The JSON form is kept for scripts; docs/schemas/diff.json describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Version of this form.
    pub schema: u32,
    /// The cluster.
    pub cluster: String,
    /// The commit whose rendering it is compared with.
    pub commit: CommitId,
    /// The newest commit, where what it wants of the cluster is another thing and has yet to come to it.
    pub newest: Option<CommitId>,
    /// The file that pauses all of it, if one does.
    pub paused: Option<String>,
    /// What else keeps this, or the newest commit, from being written: one sentence each.
    pub waits: Vec<String>,
    /// Objects that are as they should be.
    pub unchanged: usize,
    /// Objects that are not there.
    pub create: Vec<LiveChange>,
    /// The fleet's objects that are not as they should be.
    pub change: Vec<LiveChange>,
    /// Objects that are there, are not the fleet's yet, and would be taken from others.
    pub take_over: Vec<LiveChange>,
    /// Objects that are there, are not the fleet's yet, and would be shared with others, who lose nothing.
    pub share: Vec<LiveChange>,
    /// The fleet's objects that are not in the repository.
    pub delete: Vec<Delete>,
    /// Objects that the server refuses, or that may not be written.
    pub refused: Vec<LiveRefusal>,
}

/// One object that a sync would write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveChange {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// Its bundle.
    pub bundle: String,
    /// Whether that is paused, so that it waits.
    pub paused: bool,
    /// From whom something would be taken: fields of theirs, or values that they set.
    pub from: Vec<String>,
    /// Who would keep fields of an object that is not the fleet's yet.
    pub with: Vec<String>,
    /// What others did to it, where Git has not changed it.
    pub drift: Option<LiveDrift>,
    /// What else is to be known; empty where nothing is.
    pub note: String,
    /// What differs, from how it stands to how it would be. Empty for a new object, and where only the fleet's marks differ.
    pub fields: Vec<Field>,
}

/// What others did to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveDrift {
    /// Whether it stays so, since drift of it is not put back.
    pub stays: bool,
    /// Who changed which field and when, the first few; paths as the server writes them.
    pub by: Vec<Departure>,
}

/// One object that would not be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRefusal {
    /// Which.
    #[serde(flatten)]
    pub id: ObjectId,
    /// Its bundle, of which nothing would be written then.
    pub bundle: String,
    /// Why, in the server's words.
    pub error: ErrorAnswer,
}

impl Diff {
    /// Whether the cluster is anything else than what the repository says. What is kept for good is as it should be.
    pub fn differs(&self) -> bool {
        let writes = self.create.len() + self.change.len() + self.take_over.len() + self.share.len() + self.refused.len();
        writes > 0 || self.delete.iter().any(|delete| delete.fate != Fate::Kept)
    }
}

/// What is told of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is as it should be.
    AsWanted,
    /// It would be created.
    Create(LiveChange),
    /// It would be changed.
    Change(LiveChange),
    /// It would be taken over.
    TakeOver(LiveChange),
    /// It would be shared.
    Share(LiveChange),
    /// It would be refused.
    Refused(LiveRefusal),
}

/// Tells what the previews of one cluster's objects mean.
#[derive(Debug)]
pub struct Teller<'a> {
    rendering: &'a Rendering,
    drift: Drift,
    /// Objects whose drift is left as it is for now.
    left_alone: BTreeSet<ObjectId>,
    /// Knows the lists of the definitions in the rendering.
    table: Option<Table>,
    /// Bytes of field values that may still be told.
    left: AtomicUsize,
}

impl<'a> Teller<'a> {
    /// For objects of that rendering; `drift` is the cluster's mode, and `room` the bytes that field values may take, at most
    /// [`FIELDS_LEN_MAX`] over a whole answer.
    pub fn new(rendering: &'a Rendering, drift: Drift, room: usize) -> Self {
        let left = AtomicUsize::new(room);
        Self { rendering, drift, left_alone: BTreeSet::new(), table: definitions(&rendering.objects), left }
    }

    /// The same where drift of these objects is not put back, whatever their mode says.
    #[must_use]
    pub fn leaving_alone(self, objects: BTreeSet<ObjectId>) -> Self {
        Self { left_alone: objects, ..self }
    }

    /// What is told of it. Values of Secrets are masked here.
    pub fn tell(&self, previewed: &Previewed) -> Told {
        let Previewed { object, standing, tried, .. } = previewed;
        if let Tried::Refused(error) = tried {
            let mut error = ErrorAnswer::from(error);
            if !self.has_room(error.message.len()) {
                error.message = format!("{}: the server's words are left out: the answer would be too long", object.id);
            }
            return Told::Refused(LiveRefusal { id: object.id.clone(), bundle: object.bundle.to_string(), error });
        }
        let is_let_be = previewed.drifted.is_some() && drift_mode(object, self.rendering, self.drift) == Drift::Off;
        if previewed.is_as_wanted() || is_let_be {
            return Told::AsWanted;
        }
        let mut change = LiveChange {
            id: object.id.clone(),
            bundle: object.bundle.to_string(),
            paused: self.rendering.is_paused(&object.bundle),
            from: Vec::new(),
            with: Vec::new(),
            drift: self.drift_of(previewed),
            note: note(previewed),
            fields: Vec::new(),
        };
        if *standing != Standing::Absent {
            self.put_fields(previewed, &mut change);
        }
        match standing {
            Standing::Absent => Told::Create(change),
            Standing::Stranger { from, with } => {
                let change = LiveChange { from: from.clone(), with: with.clone(), ..change };
                if from.is_empty() { Told::Share(change) } else { Told::TakeOver(change) }
            }
            Standing::Member | Standing::OtherFleet => Told::Change(change),
        }
    }

    fn drift_of(&self, previewed: &Previewed) -> Option<LiveDrift> {
        let drifted = previewed.drifted.as_ref()?;
        let stays = drift_mode(&previewed.object, self.rendering, self.drift) != Drift::Repair;
        let stays = stays || self.left_alone.contains(&previewed.object.id);
        Some(LiveDrift { stays, by: drifted.departures.clone() })
    }

    /// Takes so many bytes of the answer, where they are left.
    fn has_room(&self, length: usize) -> bool {
        self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length)).is_ok()
    }

    fn put_fields(&self, previewed: &Previewed, change: &mut LiveChange) {
        let (Some(live), Tried::Becomes(would)) = (&previewed.live, &previewed.tried) else { return };
        let table = self.table.as_ref().unwrap_or(Table::bundled());
        let fields = differing(&content(live), &content(would), change.id.is("", "Secret"), table);
        let length: usize = fields.iter().map(|field| field.path.len() + text_len(&field.from) + text_len(&field.to)).sum();
        if self.has_room(length) {
            change.fields = fields;
        } else {
            append(&mut change.note, "its fields are left out: the answer would be too long");
        }
    }
}

fn text_len(value: &serde_json::Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

fn append(note: &mut String, more: &str) {
    if !note.is_empty() {
        note.push_str("; ");
    }
    note.push_str(more);
}

fn note(previewed: &Previewed) -> String {
    let mut note = match &previewed.tried {
        Tried::Waits if previewed.live.is_some() => "not tried: the definition of its kind changes with the same sync".to_owned(),
        Tried::Waits => "not tried: its namespace or its kind is made by the same sync".to_owned(),
        Tried::Untried(message) => format!("the server cannot try it: {message}"),
        Tried::Anew => "it would be deleted and created anew: the change touches what can only be set at creation".to_owned(),
        Tried::Runs => "the last run makes way for it".to_owned(),
        Tried::Becomes(_) | Tried::Refused(_) => String::new(),
    };
    if let (Tried::Untried(_), Standing::Stranger { from, .. }) = (&previewed.tried, &previewed.standing) {
        let unknown = if from.is_empty() {
            "it is refused where others own what it sets otherwise"
        } else {
            "so nobody says which of them own fields that it would take"
        };
        append(&mut note, unknown);
    }
    if let (Tried::Becomes(_), Standing::Stranger { from, .. }) = (&previewed.tried, &previewed.standing)
        && from.is_empty()
    {
        append(&mut note, "nothing that others set changes, and what they manage stays theirs");
    }
    match previewed.object.policy.hook {
        Some(Hook::OnFailure) => append(&mut note, "a hook, which runs where its bundle fails"),
        Some(Hook::PreSync | Hook::PostSync) => append(&mut note, "a hook, which runs since its bundle changes"),
        None => {}
    }
    let lost = previewed.drifted.as_ref().and_then(|drifted| drifted.lost);
    for more in lost.into_iter().chain(previewed.told.as_deref()) {
        append(&mut note, more);
    }
    note
}

/// What becomes of the fleet's objects that the rendering does not have.
pub fn deletions(leaving: Leaving, rendering: &Rendering) -> Vec<Delete> {
    let delete = |deletion: crate::sync::plan::Deletion, fate, reason| {
        let bundle = deletion.bundle.unwrap_or_else(|| "default".to_owned());
        Delete { id: deletion.id, bundle, fate, reason }
    };
    let verdict = leaving.verdict;
    let gone = verdict.delete.into_iter().map(|deletion| delete(deletion, Fate::Deleted, String::new()));
    let held = verdict.held.into_iter().map(|(deletion, reason)| delete(deletion, Fate::Held, reason));
    let kept = verdict.kept.into_iter().map(|(deletion, reason)| delete(deletion, Fate::Kept, reason));
    let mut all: Vec<Delete> = gone.chain(held).chain(kept).collect();
    all.extend(
        leaving
            .inventory
            .iter()
            .filter(|(id, member)| rendering.object(id).is_none() && member.is_labelled() && !member.is_deleting())
            .filter_map(|(id, member)| {
                let bundle = member.bundle().filter(|bundle| rendering.is_paused(bundle))?;
                let reason = format!("the bundle {bundle} is paused");
                Some(Delete { id: id.clone(), bundle: bundle.to_string(), fate: Fate::Paused, reason })
            }),
    );
    all.sort();
    all
}

/// Puts together what was told of a cluster.
pub fn diff(cluster: &str, commit: CommitId, paused: Option<String>, told: Vec<Told>, delete: Vec<Delete>) -> Diff {
    let mut diff = Diff {
        schema: 1,
        cluster: cluster.to_owned(),
        commit,
        newest: None,
        paused,
        waits: Vec::new(),
        unchanged: 0,
        create: Vec::new(),
        change: Vec::new(),
        take_over: Vec::new(),
        share: Vec::new(),
        delete,
        refused: Vec::new(),
    };
    for told in told {
        match told {
            Told::AsWanted => diff.unchanged += 1,
            Told::Create(change) => diff.create.push(change),
            Told::Change(change) => diff.change.push(change),
            Told::TakeOver(change) => diff.take_over.push(change),
            Told::Share(change) => diff.share.push(change),
            Told::Refused(refusal) => diff.refused.push(refusal),
        }
    }
    for changes in [&mut diff.create, &mut diff.change, &mut diff.take_over, &mut diff.share] {
        changes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    diff.refused.sort_by(|a, b| a.id.cmp(&b.id));
    diff
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        codes,
        diagnostic::{Diagnostic, Place},
        git::MemorySource,
        layout,
        manifest::DigestKey,
        plan::Op,
        render::{Facts, RenderedObject, Renderer},
        sync::preview::Drifted,
    };

    /// What a cluster must run when its bundles have these objects.
    fn rendering(objects: &[(&str, Value)], bundle: &Value) -> Arc<Rendering> {
        let own = |kind: &str, name: &str, spec: &Value| {
            json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
        };
        let mut files = vec![
            ("evenkeel.yaml".to_owned(), own("Fleet", "shop", &json!({}))),
            ("environments/test/eu/one/cluster.yaml".to_owned(), own("Cluster", "one", &json!({}))),
            ("base/app/bundle.yaml".to_owned(), own("Bundle", "app", bundle)),
        ];
        files.extend(objects.iter().map(|(name, object)| (format!("base/app/{name}.yaml"), object.to_string())));
        let source = MemorySource::new(files).unwrap();
        let fleet = layout::read(&source).unwrap();
        let renderer = Renderer::new("evenkeel-system", DigestKey::new([0; 32]));
        renderer.render(&source, &fleet, fleet.cluster("one").unwrap(), &Facts::default()).unwrap()
    }

    fn object(kind: &str, more: &Value) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "one", "namespace": "shop"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    /// A member of which Git or somebody else changed something.
    fn previewed(wanted: &Arc<RenderedObject>, live: Value, would: Value) -> Previewed {
        Previewed {
            object: wanted.clone(),
            live: Some(live),
            standing: Standing::Member,
            tried: Tried::Becomes(would),
            drifted: None,
            told: None,
        }
    }

    fn change(told: Told) -> LiveChange {
        match told {
            Told::Change(change) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_of_secrets_are_masked() {
        let (live, would) = (object("Secret", &json!({"data": {"a": "b2xk"}})), object("Secret", &json!({"data": {"a": "bmV3"}})));
        let rendering = rendering(&[("one", would.clone())], &json!({}));
        let told = change(Teller::new(&rendering, Drift::Repair, 1000).tell(&previewed(&rendering.objects[0], live, would)));
        let expected = Field { path: "data.a".to_owned(), op: Op::Changed, from: "***".into(), to: "***".into() };
        assert_eq!(told.fields, [expected]);
    }

    #[test]
    fn lists_of_custom_resources_are_matched_by_their_definition() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"ports": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}}}}}});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gates.a.io"},
            "spec": {"group": "a.io", "scope": "Namespaced", "names": {"kind": "Gate", "plural": "gates"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
        let gate = |ports: Value| json!({"apiVersion": "a.io/v1", "kind": "Gate", "metadata": {"name": "one", "namespace": "shop"}, "spec": {"ports": ports}});
        let (live, would) = (gate(json!([{"name": "b", "port": 2}])), gate(json!([{"name": "a", "port": 1}, {"name": "b", "port": 3}])));
        let rendering = rendering(&[("crd", definition), ("gate", would.clone())], &json!({}));
        let wanted = rendering.objects.iter().find(|object| object.id.kind == "Gate").unwrap();
        let told = change(Teller::new(&rendering, Drift::Repair, 1000).tell(&previewed(wanted, live, would)));
        let paths: Vec<&str> = told.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["spec.ports[name=\"b\"].port", "spec.ports[name=\"a\"]"]);
    }

    #[test]
    fn an_answer_has_an_end() {
        let long = |letter: &str| object("ConfigMap", &json!({"data": {"a": letter.repeat(300)}}));
        let rendering = rendering(&[("one", object("ConfigMap", &json!({})))], &json!({}));
        let teller = Teller::new(&rendering, Drift::Repair, 1000);
        let tell = || change(teller.tell(&previewed(&rendering.objects[0], long("a"), long("b"))));
        let (first, second) = (tell(), tell());
        assert_eq!((first.fields.len(), &*first.note), (1, ""));
        assert_eq!((second.fields.len(), &*second.note), (0, "its fields are left out: the answer would be too long"));
    }

    #[test]
    fn drift_stays_where_it_is_only_reported() {
        let wanted = object("ConfigMap", &json!({"data": {"a": "1"}}));
        let live = object("ConfigMap", &json!({"data": {"a": "2"}}));
        for (bundle, cluster, stays) in
            [(json!({}), Drift::Repair, false), (json!({}), Drift::Report, true), (json!({"drift": "report"}), Drift::Repair, true)]
        {
            let rendering = rendering(&[("one", wanted.clone())], &bundle);
            let drifted = Drifted { lost: Some("managedFields were cleared"), departures: Vec::new() };
            let previewed = Previewed { drifted: Some(drifted), ..previewed(&rendering.objects[0], live.clone(), wanted.clone()) };
            let told = change(Teller::new(&rendering, cluster, 1000).tell(&previewed));
            assert_eq!((told.drift, &*told.note), (Some(LiveDrift { stays, by: Vec::new() }), "managedFields were cleared"));
        }
    }

    #[test]
    fn drift_of_what_is_held_stays() {
        let (wanted, live) = (object("ConfigMap", &json!({"data": {"a": "1"}})), object("ConfigMap", &json!({"data": {"a": "2"}})));
        let rendering = rendering(&[("one", wanted.clone())], &json!({}));
        let drifted = Some(Drifted { lost: None, departures: Vec::new() });
        let previewed = Previewed { drifted, ..previewed(&rendering.objects[0], live, wanted) };
        let stays = |held: &[&Arc<RenderedObject>]| {
            let held = held.iter().map(|object| object.id.clone()).collect();
            change(Teller::new(&rendering, Drift::Repair, 1000).leaving_alone(held).tell(&previewed)).drift.unwrap().stays
        };
        assert_eq!((stays(&[]), stays(&[&rendering.objects[0]])), (false, true));
    }

    #[test]
    fn the_server_s_words_have_an_end_too() {
        let rendering = rendering(&[("one", object("ConfigMap", &json!({})))], &json!({}));
        let teller = Teller::new(&rendering, Drift::Repair, 1000);
        let refused = || Diagnostic::new(codes::REFUSED, Place::Object("ConfigMap/shop/one".to_owned()), "no".repeat(300));
        let tried = || Previewed { tried: Tried::Refused(refused()), ..previewed(&rendering.objects[0], Value::Null, Value::Null) };
        let lengths = [(); 2].map(|()| match teller.tell(&tried()) {
            Told::Refused(refusal) => refusal.error.message.len(),
            other => panic!("{other:?}"),
        });
        assert!(lengths[0] > 600 && lengths[1] < 100, "{lengths:?}");
    }

    #[test]
    fn drift_that_nobody_minds_is_no_difference() {
        let (wanted, live) = (object("ConfigMap", &json!({"data": {"a": "1"}})), object("ConfigMap", &json!({"data": {"a": "2"}})));
        let rendering = rendering(&[("one", wanted.clone())], &json!({"drift": "off"}));
        let drifted = Drifted { lost: None, departures: Vec::new() };
        let base = previewed(&rendering.objects[0], live, wanted);
        let teller = Teller::new(&rendering, Drift::Repair, 1000);
        assert_eq!(teller.tell(&Previewed { drifted: Some(drifted), ..base.clone() }), Told::AsWanted);
        assert_eq!(change(teller.tell(&base)).fields.len(), 1, "what Git changed is");
    }

    #[test]
    fn each_standing_and_answer_is_told_as_what_it_is() {
        let wanted = object("ConfigMap", &json!({"data": {"a": "1"}}));
        let rendering = rendering(&[("one", wanted.clone())], &json!({"paused": true}));
        let teller = Teller::new(&rendering, Drift::Repair, 1000);
        let base = previewed(&rendering.objects[0], wanted.clone(), wanted.clone());
        let tell = |live: Option<Value>, standing, tried| teller.tell(&Previewed { live, standing, tried, ..base.clone() });

        let Told::Create(new) = tell(None, Standing::Absent, Tried::Waits) else { panic!("not created") };
        assert!(new.paused && new.fields.is_empty() && new.note.starts_with("not tried"), "{new:?}");
        let from = vec!["helm".to_owned()];
        let stranger = Standing::Stranger { from: from.clone(), with: Vec::new() };
        let Told::TakeOver(taken) = tell(Some(wanted.clone()), stranger, Tried::Untried("no".to_owned())) else { panic!("not taken") };
        let note = "the server cannot try it: no; so nobody says which of them own fields that it would take";
        assert_eq!((taken.from, &*taken.note), (from, note));
        let shared = Standing::Stranger { from: Vec::new(), with: vec!["helm".to_owned()] };
        let Told::Share(shared) = tell(Some(wanted.clone()), shared, Tried::Untried("no".to_owned())) else { panic!("not shared") };
        let note = "the server cannot try it: no; it is refused where others own what it sets otherwise";
        assert_eq!((&*shared.with, &*shared.note), (&["helm".to_owned()][..], note));
        let Told::Change(anew) = tell(Some(wanted.clone()), Standing::Member, Tried::Anew) else { panic!("not changed") };
        assert!(anew.note.contains("created anew"), "{anew:?}");
        let error = Diagnostic::new(codes::REFUSED, Place::Object("ConfigMap/shop/one".to_owned()), "no");
        let Told::Refused(refused) = tell(None, Standing::Absent, Tried::Refused(error)) else { panic!("not refused") };
        assert_eq!((&*refused.bundle, &*refused.error.message), ("app", "ConfigMap/shop/one: no"));
        let as_applied: Value = serde_json::from_slice(rendering.objects[0].body.as_slice()).unwrap();
        assert_eq!(tell(Some(as_applied.clone()), Standing::Member, Tried::Becomes(as_applied)), Told::AsWanted);
    }
}
