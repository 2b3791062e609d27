//! RFC 6902.

use serde_json::Value;

/// A list of JSON patch operations that cannot be carried out.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct PatchError {
    /// JSON pointer to the operation in the list, empty if the list itself is wrong.
    pub path: String,
    /// What is wrong, with the operation's own path.
    pub message: String,
}

/// Carries out RFC 6902 operations, all or none: after an error the target is as it was.
pub fn json_patch(target: &mut Value, operations: &Value) -> Result<(), PatchError> {
    json_patch::patch(target, &read(operations)?)
        .map_err(|error| PatchError { path: format!("/{}", error.operation), message: error.to_string() })
}

/// Reads the operations; a caller that carries them out on many objects reads them once.
pub(crate) fn read(operations: &Value) -> Result<json_patch::Patch, PatchError> {
    let at = |path: String, message: String| PatchError { path, message };
    let Value::Array(list) = operations else {
        return Err(at(String::new(), "a JSON patch is a list of operations".to_owned()));
    };
    let mut patch = Vec::with_capacity(list.len());
    for (index, operation) in list.iter().enumerate() {
        let operation = serde::Deserialize::deserialize(operation);
        patch.push(operation.map_err(|error: serde_json::Error| at(format!("/{index}"), format!("operation {index}: {error}")))?);
    }
    Ok(json_patch::Patch(patch))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::json_patch;
    use serde_json::json;

    #[test]
    fn operations() {
        let mut target = json!({"a": {"b/c": 1}, "list": [1, 2]});
        let operations = json!([
            {"op": "test", "path": "/a/b~1c", "value": 1},
            {"op": "add", "path": "/list/-", "value": 3},
            {"op": "add", "path": "/list/0", "value": 0},
            {"op": "replace", "path": "/a/b~1c", "value": {"d": null}},
            {"op": "copy", "from": "/list/1", "path": "/one"},
            {"op": "move", "from": "/a", "path": "/z"},
            {"op": "remove", "path": "/list/1"},
        ]);
        json_patch(&mut target, &operations).unwrap();
        assert_eq!(target, json!({"z": {"b/c": {"d": null}}, "list": [0, 2, 3], "one": 1}));
    }

    #[test]
    fn an_error_names_the_operation_and_changes_nothing() {
        let cases = [
            (json!([{"op": "add", "path": "/b", "value": 2}, {"op": "remove", "path": "/missing"}]), "/1"),
            (json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 5}]), "/1"),
            (json!([{"op": "replace", "path": "/a/b/c", "value": 1}]), "/0"),
            (json!([{"op": "jump", "path": "/a"}]), "/0"),
            (json!({"op": "remove", "path": "/a"}), ""),
        ];
        for (operations, path) in cases {
            let mut target = json!({"a": 1});
            assert_eq!(json_patch(&mut target, &operations).unwrap_err().path, path, "{operations}");
            assert_eq!(target, json!({"a": 1}), "{operations}");
        }
    }
}
