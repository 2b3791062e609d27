//! Where a field is, in the form in which the API server names fields.

use serde_json::Value;
use std::fmt;

/// The way from an object's root to a field or list item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(pub Vec<Step>);

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of a map.
    Field(String),
    /// The item of a list with these keys, defaults of the schema included.
    Item(Vec<(String, Value)>),
    /// The member of a list that is a set.
    Member(Value),
    /// The item at that place of a list, from 0: of the old list for what is removed, of the new one for what is added; what is
    /// changed has the same place in both.
    Index(usize),
}

impl Step {
    /// What names an item in its list.
    pub(super) fn label(&self) -> Value {
        match self {
            Self::Field(name) => Value::String(name.clone()),
            Self::Item(keys) => match &keys[..] {
                [(_, value)] => value.clone(),
                keys => Value::Object(keys.iter().cloned().collect()),
            },
            Self::Member(value) => value.clone(),
            Self::Index(at) => Value::from(*at),
        }
    }
}

impl fmt::Display for FieldPath {
    /// `spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].name`; a name that is no plain word stands
    /// in brackets: `metadata.annotations["example.org/team"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if is_word(name) && at == 0 => f.write_str(name)?,
                Step::Field(name) if is_word(name) => write!(f, ".{name}")?,
                Step::Field(name) => write!(f, "[{}]", Value::from(name.as_str()))?,
                Step::Item(keys) => {
                    let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    write!(f, "[{}]", keys.join(","))?;
                }
                Step::Member(value) => write!(f, "[={value}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
