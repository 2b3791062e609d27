//! The file form of the built-in schemas: see `data/` and the task that makes it (`cargo xtask schema`).
//!
//! A type is a mapping from fields to their types; a field that ends in `!` is required. A field's type is one of
//!
//! | form | value |
//! |---|---|
//! | `s` `b` `i` `n` | string, boolean, integer, number |
//! | `y` `q` `x` | base64, quantity, integer or string |
//! | `=A\|B` | one of these strings, or none of them: `""` stands for the default |
//! | `[]T` `[*]T` `[a,b=TCP]T` | list of T; with items that are there once; with items that these keys tell apart, `TCP` for a missing `b` |
//! | `{}T` | mapping from any name to T |
//! | `#name` | an object of that type |
//! | `*` | anything |

use crate::table::{Data, Field, KindVersion, Node, Shape, Text, Type, Unique};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

const METADATA: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";

type Map<V> = BTreeMap<&'static str, V>;

#[derive(Deserialize)]
struct Document {
    #[serde(borrow)]
    version: &'static str,
    #[serde(borrow)]
    kinds: Map<Map<Map<&'static str>>>,
    #[serde(borrow)]
    types: Map<Map<&'static str>>,
}

type Index = HashMap<&'static str, usize>;

pub(crate) fn read(text: &'static str) -> Result<Data, serde_json::Error> {
    let document: Document = serde_json::from_str(text)?;
    let index: Index = document.types.keys().copied().zip(0..).collect();
    let types = document.types.values().map(|fields| read_type(fields, &index)).collect();
    let versions = |versions: Map<&'static str>| -> Vec<KindVersion> {
        let known = |(version, of): (&'static str, &str)| KindVersion { version: version.into(), of: index.get(of).copied(), served: true };
        versions.into_iter().map(known).collect()
    };
    let kinds = |kinds: Map<Map<&'static str>>| kinds.into_iter().map(|(kind, of)| (Text::from(kind), versions(of))).collect();
    Ok(Data {
        version: document.version.into(),
        kinds: document.kinds.into_iter().map(|(group, of)| (group.into(), kinds(of))).collect(),
        types,
        metadata: index.get(METADATA).copied(),
    })
}

fn read_type(fields: &Map<&'static str>, index: &Index) -> Type {
    let fields = fields.iter().map(|(name, of)| {
        let (name, required) = name.strip_suffix('!').map_or((*name, false), |name| (name, true));
        Field { name: name.into(), required, node: read_node(of, index) }
    });
    Type::new(fields.collect(), false)
}

/// What is not in one of the forms is anything; a test reads the whole file.
fn read_node(form: &'static str, index: &Index) -> Node {
    if let Some(words) = form.strip_prefix('=') {
        let words = std::iter::once("").chain(words.split('|')).map(Value::from).collect();
        return Node { words, ..Node::new(Shape::String) };
    }
    Node::new(match form {
        "s" => Shape::String,
        "b" => Shape::Boolean,
        "i" => Shape::Integer,
        "n" => Shape::Number,
        "y" => Shape::Base64,
        "q" => Shape::Quantity,
        "x" => Shape::IntOrString,
        _ => read_compound(form, index).unwrap_or(Shape::Any),
    })
}

fn read_compound(form: &'static str, index: &Index) -> Option<Shape> {
    if let Some(name) = form.strip_prefix('#') {
        return index.get(name).map(|at| Shape::Object(*at));
    }
    if let Some(of) = form.strip_prefix("{}") {
        return Some(Shape::Map(Box::new(read_node(of, index))));
    }
    let (keys, of) = form.strip_prefix('[')?.split_once(']')?;
    let unique = match keys {
        "" => Unique::No,
        "*" => Unique::Items,
        keys => Unique::Keys(keys.split(',').map(read_key).collect()),
    };
    Some(Shape::List { unique, item: Box::new(read_node(of, index)) })
}

fn read_key(key: &'static str) -> (Text, Option<Value>) {
    key.split_once('=').map_or((key.into(), None), |(name, default)| (name.into(), Some(default.into())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::read;
    use crate::table::{Node, Shape};

    const TEXT: &str = include_str!("../data/schema-v1.36.json");

    #[test]
    fn the_bundled_file_is_whole_and_small() {
        let data = read(TEXT).unwrap();
        assert!(data.version.starts_with("v1.36."));
        assert!(data.kinds.values().map(std::collections::HashMap::len).sum::<usize>() > 70);
        assert!(data.kinds.values().flat_map(std::collections::HashMap::values).flatten().all(|version| version.of.is_some()));
        assert!(data.types.len() > 400 && data.metadata.is_some());
        assert!(TEXT.len() < 200_000);
    }

    #[test]
    fn every_form_in_the_file_is_known() {
        fn known(node: &Node, open: &mut usize) {
            match &node.shape {
                Shape::Any => *open += 1,
                Shape::List { item, .. } | Shape::Map(item) => known(item, open),
                _ => {}
            }
        }
        let data = read(TEXT).unwrap();
        let mut open = 0;
        data.types.iter().flat_map(|ty| &ty.fields).for_each(|field| known(&field.node, &mut open));
        assert_eq!(open, TEXT.matches("*\"").count(), "only * is anything");
    }
}
