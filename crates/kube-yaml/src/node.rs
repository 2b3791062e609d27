use serde_json::{Map, Number, Value};

use crate::Position;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value as kubectl reads it.
    pub value: Kind,
    /// Where it begins. What an alias brought has the position of the alias; what is inside, that of the anchored text.
    pub position: Position,
}

/// The value of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `null`, `~`, or nothing.
    Null,
    /// A boolean of YAML 1.1: `true`, `yes`, `on`, `y` and their opposites.
    Bool(bool),
    /// An integer, or a float that is not one. A float that Go prints as an integer is an integer.
    Number(Number),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A map. Every key is there once, in the order of the text.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping. Keys that are no strings in YAML are turned to strings as kubectl does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as it stands in JSON.
    pub name: String,
    /// Where it begins.
    pub position: Position,
}

impl Node {
    /// The value without positions.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::String(value) => Value::String(value.clone()),
            Kind::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Mapping(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The value without positions, taking the strings along instead of copying them.
    pub fn into_json(self) -> Value {
        match self.value {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(value) => Value::Number(value),
            Kind::String(value) => Value::String(value),
            Kind::Sequence(items) => Value::Array(items.into_iter().map(Self::into_json).collect()),
            Kind::Mapping(entries) => {
                Value::Object(entries.into_iter().map(|(key, node)| (key.name, node.into_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The node that a JSON pointer (RFC 6901) names: `""` is this one, `/spec/ports/0` the first port.
    pub fn at(&self, pointer: &str) -> Option<&Node> {
        self.walk(pointer).map(|(_, node)| node)
    }

    /// Where the key stands that leads to the node of this JSON pointer. For an item of a sequence, where the item begins.
    /// Nothing leads to the root, so `""` has none.
    pub fn key_position(&self, pointer: &str) -> Option<Position> {
        self.walk(pointer).and_then(|(key, _)| key)
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Kind::String(text) = &self.value { Some(text) } else { None }
    }

    fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        if let Kind::Mapping(entries) = &self.value { entries.iter().find(|(key, _)| key.name == name) } else { None }
    }

    fn walk(&self, pointer: &str) -> Option<(Option<Position>, &Node)> {
        if pointer.is_empty() {
            return Some((None, self));
        }
        let mut place = (None, self);
        for token in pointer.strip_prefix('/')?.split('/') {
            place = match &place.1.value {
                Kind::Sequence(items) => {
                    let item = items.get(index(token)?)?;
                    (Some(item.position), item)
                }
                Kind::Mapping(_) => {
                    let (key, node) = place.1.entry(&token.replace("~1", "/").replace("~0", "~"))?;
                    (Some(key.position), node)
                }
                _ => return None,
            };
        }
        Some(place)
    }
}

/// RFC 6901 section 4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}
