//! The file form of a table: see `data/` and the task that makes it (`cargo xtask schema`).

use super::{Data, Field, Key, Kind, ListMerge, Scope, Type};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

#[derive(Deserialize)]
struct Document {
    version: String,
    kinds: BTreeMap<String, BTreeMap<String, KindEntry>>,
    types: BTreeMap<String, BTreeMap<String, FieldEntry>>,
}

#[derive(Deserialize)]
struct KindEntry {
    scope: Scope,
    versions: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct FieldEntry {
    /// The type of the field or of its items.
    of: Option<String>,
    /// For a list that merges: `name` or `name=default` for each key; empty for a set of scalars.
    keys: Option<Vec<String>>,
}

/// The name under which a type has the field of any other name.
const ANY_FIELD: &str = "*";

pub(super) fn read(text: &str) -> Result<Data, serde_json::Error> {
    let document: Document = serde_json::from_str(text)?;
    let index: HashMap<String, usize> = document.types.keys().cloned().zip(0..).collect();
    let types = document.types.into_values().map(|fields| read_type(fields, &index)).collect();
    let mut kinds: HashMap<String, HashMap<String, Kind>> = HashMap::new();
    for (group, entries) in document.kinds {
        let entries = entries.into_iter().map(|(kind, entry)| (kind, read_kind(entry, &index)));
        kinds.insert(group, entries.collect());
    }
    Ok(Data { version: document.version, kinds, types })
}

fn read_kind(entry: KindEntry, index: &HashMap<String, usize>) -> Kind {
    let versions = entry.versions.into_iter().map(|(version, of)| (version, of.and_then(|of| index.get(&of).copied())));
    Kind { scope: entry.scope, versions: versions.collect() }
}

fn read_type(fields: BTreeMap<String, FieldEntry>, index: &HashMap<String, usize>) -> Type {
    let mut fields: HashMap<String, Field> = fields.into_iter().map(|(name, entry)| (name, read_field(entry, index))).collect();
    let any = fields.remove(ANY_FIELD);
    Type { fields, any }
}

fn read_field(entry: FieldEntry, index: &HashMap<String, usize>) -> Field {
    let merge =
        entry.keys.map(|keys| if keys.is_empty() { ListMerge::Set } else { ListMerge::Keys(keys.into_iter().map(read_key).collect()) });
    Field { merge, of: entry.of.and_then(|of| index.get(&of).copied()) }
}

fn read_key(text: String) -> Key {
    match text.split_once('=') {
        Some((name, default)) => Key { name: name.to_owned(), default: Some(default.to_owned()) },
        None => Key { name: text, default: None },
    }
}
