//! The content of an object on its way through the layers.
//!
//! A tree of JSON takes ten times the memory of its text: each map has room for eleven entries, each text an allocation of its own. So
//! what is only kept for the next commit is packed, and read again where that commit comes to it, which takes about as long as a copy
//! of the tree would.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::content::unmarked;
use crate::manifest::Body;

/// JSON, as a tree or packed.
pub(super) struct Content(RwLock<Form>);

enum Form {
    Tree(Arc<Value>),
    Packed(Box<str>),
    /// What is sent for it, marks and all: that is kept anyway.
    Sealed(Body),
}

impl Form {
    /// Read anew.
    fn read(&self) -> Value {
        match self {
            Self::Tree(tree) => Value::clone(tree),
            Self::Packed(text) => {
                let read = serde_json::from_str(text);
                debug_assert!(read.is_ok(), "what was written is read again");
                read.unwrap_or_default()
            }
            Self::Sealed(body) => unmarked(body),
        }
    }
}

impl Content {
    /// As a tree.
    pub(super) fn tree(&self) -> Arc<Value> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Form::Tree(tree) => Arc::clone(tree),
            packed => Arc::new(packed.read()),
        }
    }

    /// As a tree that is the caller's own.
    pub(super) fn copy(&self) -> Value {
        self.0.read().unwrap_or_else(PoisonError::into_inner).read()
    }

    /// The tree, to be changed in place, where nobody else holds it.
    pub(super) fn own(&mut self) -> Option<&mut Value> {
        match self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Form::Tree(tree) => Arc::get_mut(tree),
            Form::Packed(_) | Form::Sealed(_) => None,
        }
    }

    /// The tree, which nobody else holds then unless others hold it already. Nothing is left in its place.
    pub(super) fn take(&mut self) -> Arc<Value> {
        match std::mem::replace(self.0.get_mut().unwrap_or_else(PoisonError::into_inner), Form::Packed("null".into())) {
            Form::Tree(tree) => tree,
            packed => Arc::new(packed.read()),
        }
    }

    /// Lets go of the tree and keeps a text: that of what is sent for it, where the tree can be had from there.
    pub(super) fn pack(&self, sealed: Option<&Body>) {
        let packed = match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Form::Tree(tree) => match sealed.filter(|sealed| unmarked(sealed) == **tree) {
                Some(sealed) => Form::Sealed(sealed.clone()),
                None => Form::Packed(tree.to_string().into()),
            },
            Form::Packed(_) | Form::Sealed(_) => return,
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = packed;
    }

    /// Whether one of these names may be in it; certainly not where it says so. Names of objects need no escapes in JSON.
    pub(super) fn may_mention(&self, names: &[String]) -> bool {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Form::Tree(_) => true,
            Form::Packed(text) => names.iter().any(|name| text.contains(name)),
            Form::Sealed(body) => {
                let text = std::str::from_utf8(body.as_slice());
                text.is_ok_and(|text| names.iter().any(|name| text.contains(name)))
            }
        }
    }
}

impl<T: Into<Arc<Value>>> From<T> for Content {
    fn from(tree: T) -> Self {
        Self(RwLock::new(Form::Tree(tree.into())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest::{DigestKey, ObjectId, seal};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::num::f64::ANY.prop_map(|number| json!(number)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn packing_changes_nothing(value in value()) {
            let content = Content::from(value.clone());
            content.pack(None);
            prop_assert_eq!(&content.copy(), &value);
            prop_assert_eq!(content.tree().to_string(), value.to_string());
        }
    }

    #[test]
    fn what_is_sent_is_kept_once_where_it_says_the_same() {
        let id: ObjectId = "ConfigMap/shop/a".parse().unwrap();
        for (metadata, shared) in [(json!({"labels": {"x": "y"}}), true), (json!({}), true), (json!({"labels": {}}), false)] {
            let object = json!({"kind": "ConfigMap", "metadata": metadata, "data": {"n": 1.5}});
            let (_, body) = seal(&object, &id, "set", &DigestKey::new([0; 32]));
            let content = Content::from(object.clone());
            content.pack(Some(&body));
            assert_eq!(matches!(&*content.0.read().unwrap(), Form::Sealed(_)), shared, "{object}");
            assert_eq!((content.copy(), &*content.tree()), (object.clone(), &object));
            assert!(content.may_mention(&["ConfigMap".to_owned()]) && !content.may_mention(&["Secret".to_owned()]));
        }
    }

    #[test]
    fn what_is_held_by_nobody_else_is_changed_in_place() {
        let tree = Arc::new(json!({"a": 1}));
        let mut content = Content::from(Arc::clone(&tree));
        assert!(content.own().is_none());
        drop(tree);
        content.own().unwrap()["a"] = 2.into();
        content.pack(None);
        assert!(content.own().is_none());
        assert_eq!((content.may_mention(&["b".to_owned()]), &*content.take()), (false, &json!({"a": 2})));
        assert_eq!(*content.tree(), Value::Null);
    }
}
