//! The fields of one object that differ, values of Secrets masked.

use std::{collections::HashMap, sync::Arc};

use kube_overlay::{FieldChange, Step, Table, difference};
use serde_json::Value;

use super::answer::{Field, Op};
use crate::{
    manifest::{Digest, MASK, is_plain_field_of_secret, mask_copies, may_copy_secret},
    render::{RenderedObject, Rendering},
};

/// Compares objects, each pair once: most changes reach many clusters.
#[derive(Default)]
pub(super) struct Fields {
    /// Schemas with the CustomResourceDefinitions of these digests.
    tables: Vec<(Vec<Digest>, Table)>,
    known: HashMap<Pair, Arc<Vec<Field>>>,
}

/// Two versions of an object, and which of the tables says how its lists are told apart; none for the built-in kinds.
type Pair = (Digest, Digest, Option<usize>);

impl Fields {
    /// What differs between two versions of an object in these renderings.
    pub(super) fn between(&mut self, from: &RenderedObject, to: &RenderedObject, base: &Rendering, head: &Rendering) -> Arc<Vec<Field>> {
        let built_in = Table::bundled().scope(&to.id.group, &to.id.kind).is_some();
        let table = (!built_in).then(|| self.table(base, head));
        let pair = (from.digest, to.digest, table);
        if let Some(fields) = self.known.get(&pair) {
            return Arc::clone(fields);
        }
        let table = table.map_or(Table::bundled(), |at| &self.tables[at].1);
        let fields = Arc::new(differing(&from.content(), &to.content(), to.id.is("", "Secret"), table));
        self.known.insert(pair, Arc::clone(&fields));
        fields
    }

    /// The table with the definitions of both renderings; of one that both have, the newer.
    fn table(&mut self, base: &Rendering, head: &Rendering) -> usize {
        let definition = |object: &&Arc<RenderedObject>| object.id.is("apiextensions.k8s.io", "CustomResourceDefinition");
        let definitions: Vec<&Arc<RenderedObject>> = base.objects.iter().chain(&head.objects).filter(definition).collect();
        let key: Vec<Digest> = definitions.iter().map(|object| object.digest).collect();
        self.tables.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            let values: Vec<Value> = definitions.iter().map(|object| object.content()).collect();
            self.tables.push((key, Table::bundled().with_definitions(&values.iter().collect::<Vec<_>>())));
            self.tables.len() - 1
        })
    }
}

/// What differs between two contents of an object, values of a Secret masked.
pub(super) fn differing(from: &Value, to: &Value, is_secret: bool, table: &Table) -> Vec<Field> {
    let fields = difference(from, to, table).into_iter().map(shown).collect();
    if is_secret { masked(fields) } else { fields.into_iter().map(|(_, field)| field).collect() }
}

/// The schema with the CustomResourceDefinitions among these objects; none where there are none.
pub(super) fn definitions(objects: &[Arc<RenderedObject>]) -> Option<Table> {
    let definitions = objects.iter().filter(|object| object.id.is("apiextensions.k8s.io", "CustomResourceDefinition"));
    let values: Vec<Value> = definitions.map(|object| object.content()).collect();
    (!values.is_empty()).then(|| Table::bundled().with_definitions(&values.iter().collect::<Vec<_>>()))
}

fn shown(FieldChange { path, change }: FieldChange) -> (Vec<Step>, Field) {
    let (op, from, to) = match change {
        kube_overlay::Change::Added { to, .. } => (Op::Added, Value::Null, to),
        kube_overlay::Change::Removed { from } => (Op::Removed, from, Value::Null),
        kube_overlay::Change::Changed { from, to } => (Op::Changed, from, to),
        kube_overlay::Change::Reordered { from, to } => (Op::Reordered, from.into(), to.into()),
    };
    let field = Field { path: path.to_string(), op, from, to };
    (path.0, field)
}

/// The same of a Secret. What is below an entry of `data` is not told: only a Secret that the server refuses has that.
fn masked(fields: Vec<(Vec<Step>, Field)>) -> Vec<Field> {
    let mut masked: Vec<Field> = Vec::with_capacity(fields.len());
    for (mut path, mut field) in fields {
        match &path[..] {
            [Step::Field(top), ..] if is_plain_field_of_secret(top) => hide_copy(&path, &mut field),
            [_, _, _, ..] => {
                path.truncate(2);
                let path = kube_overlay::FieldPath(path).to_string();
                field = Field { path, op: Op::Changed, from: MASK.into(), to: MASK.into() };
            }
            _ => {
                let mask = |value| if path.len() == 1 { masked_entries(value) } else { MASK.into() };
                let (from, to) = match field.op {
                    Op::Added => (Value::Null, mask(field.to)),
                    Op::Removed => (mask(field.from), Value::Null),
                    Op::Changed => (mask(field.from), mask(field.to)),
                    Op::Reordered => (MASK.into(), MASK.into()),
                };
                field = Field { from, to, ..field };
            }
        }
        if masked.last() != Some(&field) {
            masked.push(field);
        }
    }
    masked
}

/// The value of a field such as `data`, whose keys are no secret.
fn masked_entries(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries.into_iter().map(|(key, _)| (key, Value::from(MASK))).collect(),
        _ => MASK.into(),
    }
}

/// Tools leave copies of the whole Secret in annotations.
fn hide_copy(path: &[Step], field: &mut Field) {
    let name = |at: usize| match path.get(at) {
        Some(Step::Field(name)) => Some(name.as_str()),
        _ => None,
    };
    for value in [&mut field.from, &mut field.to].into_iter().filter(|value| !value.is_null()) {
        match (name(0), name(1), name(2)) {
            (Some("metadata"), None, _) if path.len() == 1 => value.get_mut("annotations").into_iter().for_each(mask_copies),
            (Some("metadata"), Some("annotations"), None) if path.len() == 2 => mask_copies(value),
            (Some("metadata"), Some("annotations"), Some(name)) if may_copy_secret(name, value) => {
                *value = MASK.into();
            }
            _ => {}
        }
    }
}
