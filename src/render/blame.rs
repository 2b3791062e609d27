//! Which line of which file gave each field of an object: the cluster is rendered once more, and every change on the way is noted.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    RenderedObject, Renderer, Run,
    lines::{Shape, Spot, Step, Texts},
    stack::Stack,
    trace::{Cause, Change, Trace},
};
use crate::{
    git::Source,
    layout::{Cluster, Fleet, Layer, Level},
};

/// Where a field was given last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Path from the repository's root.
    pub path: Arc<str>,
    /// The field's line, from 1; that of what stands around it, if the field itself is not written anywhere.
    pub line: u32,
    /// The last line of a block of text, otherwise the same.
    pub last_line: u32,
    /// The layer that the file belongs to.
    pub level: Level,
}

/// Where every field of one object was given last.
#[derive(Debug, Default)]
pub struct Blame(Option<Fields>);

#[derive(Debug, Clone)]
enum Fields {
    One(Line),
    Map(BTreeMap<String, Fields>),
    List(Vec<Fields>),
}

impl Blame {
    /// Where the field at a JSON pointer was given. None for what no file gives, such as the marks of the fleet.
    pub fn line(&self, pointer: &str) -> Option<&Line> {
        let mut at = self.0.as_ref()?;
        for token in pointer.split('/').skip(1) {
            at = match at {
                Fields::One(_) => break,
                Fields::Map(fields) => fields.get(&token.replace("~1", "/").replace("~0", "~"))?,
                Fields::List(items) => items.get(token.parse::<usize>().ok()?)?,
            };
        }
        if let Fields::One(line) = at { Some(line) } else { None }
    }
}

impl Renderer {
    /// Where each field of an object of the cluster's rendering comes from. The rendering must be of the same source and fleet.
    pub fn blame(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster, object: &RenderedObject) -> Blame {
        let stack = self.traced(source, fleet, cluster);
        let mut texts = Texts::new(source);
        let mut fields: Option<(&Value, Fields)> = None;
        let changes: Vec<_> = changes_of(&stack, object).into_iter().map(|change| (change, change.after.value.tree())).collect();
        for (change, after) in &changes {
            let after = &**after;
            let shape = Shape { object: after, table: &stack.table };
            let mut attribution =
                Attribution { texts: &mut texts, shape, cause: &change.cause, layers: &cluster.layers, trail: Vec::new() };
            let given = attribution.fields(fields.as_ref().map(|(value, fields)| (*value, fields)), after);
            fields = Some((after, given));
        }
        Blame(fields.map(|(_, fields)| fields))
    }

    /// What changes an object of the cluster's rendering after it was given, in that order: the places of patches, and entries of
    /// overlays. The rendering must be of the same source and fleet.
    pub fn changed_at(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster, object: &RenderedObject) -> Vec<String> {
        let stack = self.traced(source, fleet, cluster);
        let place = |change: &Change| match &change.cause {
            Cause::Document(origin) => origin.place().to_string(),
            Cause::Entry { file, entry } => format!("{file} ({entry})"),
        };
        changes_of(&stack, object).into_iter().skip(1).map(place).collect()
    }

    /// The cluster's layers laid on each other, with every change noted.
    fn traced(&self, source: &dyn Source, fleet: &Fleet, cluster: &Cluster) -> Stack {
        let user = self.caches().enter(source.root());
        let run = Run { renderer: self, source, fleet, user };
        let mut stack = Stack { trace: Some(Trace::default()), ..Stack::default() };
        for layer in run.layers(cluster) {
            stack = stack.with(&layer.files, &layer.included);
        }
        stack
    }
}

/// What made an object, first change first.
fn changes_of<'s>(stack: &'s Stack, object: &RenderedObject) -> Vec<&'s Change> {
    let same = |id: &super::ObjectId| (&id.group, &id.kind) == (&object.id.group, &object.id.kind);
    let found = stack.pieces.iter().find(|piece| piece.id == object.id);
    // The last step may have taken a namespace away, or given a generated object its name.
    let found = found.or_else(|| stack.pieces.iter().find(|piece| same(&piece.id) && piece.origin == object.origin));
    found.zip(stack.trace.as_ref()).map(|(piece, trace)| trace.of(piece)).unwrap_or_default()
}

/// Attributes to a cause what it changed.
struct Attribution<'a, 'v> {
    texts: &'a mut Texts<'v>,
    shape: Shape<'v>,
    cause: &'a Cause,
    layers: &'a [Layer],
    trail: Vec<Step<'v>>,
}

type Before<'b> = Option<(&'b Value, &'b Fields)>;

impl<'v> Attribution<'_, 'v> {
    fn fields(&mut self, before: Before<'_>, after: &'v Value) -> Fields {
        if let Some((old, fields)) = before
            && old == after
        {
            return fields.clone();
        }
        match after {
            Value::Object(map) if !map.is_empty() => {
                let old = |name: &str| match before {
                    Some((Value::Object(old), Fields::Map(fields))) => Some((old.get(name)?, fields.get(name)?)),
                    _ => None,
                };
                let fields = map.iter().map(|(name, value)| (name.clone(), self.below(Step::Field(name), old(name), value)));
                Fields::Map(fields.collect())
            }
            Value::Array(items) if !items.is_empty() => {
                let old = self.items_before(before, items);
                let fields = items.iter().zip(old).enumerate().map(|(at, (value, old))| self.below(Step::Item { at, value }, old, value));
                Fields::List(fields.collect())
            }
            _ => Fields::One(self.line()),
        }
    }

    fn below(&mut self, step: Step<'v>, before: Before<'_>, after: &'v Value) -> Fields {
        self.trail.push(step);
        let fields = self.fields(before, after);
        self.trail.pop();
        fields
    }

    /// For each item the one that it was before.
    fn items_before<'b>(&mut self, before: Before<'b>, items: &[Value]) -> Vec<Before<'b>> {
        let Some((Value::Array(old), Fields::List(fields))) = before else { return vec![None; items.len()] };
        let pair = |at: usize| old.get(at).zip(fields.get(at));
        if let Some(list) = self.shape.list(&self.trail) {
            return items.iter().map(|item| pair(old.iter().position(|old| list.is_same(old, item))?)).collect();
        }
        // A list that does not merge is the work of whoever gives it whole.
        if self.spot().exact {
            return vec![None; items.len()];
        }
        let mut left: Vec<usize> = (0..old.len()).collect();
        let found = items.iter().enumerate().map(|(at, item)| {
            let equal = left.iter().position(|old_at| old[*old_at] == *item).map(|place| left.remove(place));
            pair(equal.or((items.len() == old.len()).then_some(at))?)
        });
        found.collect()
    }

    fn spot(&mut self) -> Spot {
        self.texts.spot(self.cause, &self.trail, self.shape)
    }

    fn line(&mut self) -> Line {
        let Spot { path, line, last_line, .. } = self.spot();
        let holds = |layer: &&Layer| path.strip_prefix(&*layer.path).is_some_and(|rest| rest.starts_with('/'));
        if path.starts_with("components/") {
            return Line { path, line, last_line, level: Level::Component };
        }
        let level = self.layers.iter().filter(holds).max_by_key(|layer| layer.path.len()).map_or(Level::Cluster, |layer| layer.level);
        Line { path, line, last_line, level }
    }
}

#[cfg(test)]
mod tests;
