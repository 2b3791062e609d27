#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::{Behavior, Generated, Generator, Renames, name_suffix};
use crate::{GeneratedKind, Rename, Table};
use serde_json::{Value, json};

fn made(kind: GeneratedKind, generator: Value) -> Result<Generated, String> {
    let generator: Generator = serde_json::from_value(generator).map_err(|error| error.to_string())?;
    generator.make(kind, &super::GeneratorOptions::default(), &mut |path| match path {
        "app.env" => Ok(b"\xef\xbb\xbf# comment\n\n  A=1 \r\nB\nC=x=y\n".to_vec()),
        "dir/binary" => Ok(vec![0xff, 0x00]),
        "bad.env" => Ok(vec![0xff]),
        _ => Err(format!("there is no file {path}")),
    })
}

#[test]
fn values_come_from_literals_files_and_lines() {
    let generator =
        json!({"name": "c", "literals": ["a='b'", "b=\"", "c=<&>"], "envs": ["app.env"], "files": ["dir/binary", "k=dir/binary"]});
    let object = made(GeneratedKind::ConfigMap, generator).unwrap().object;
    let binary = json!({"binary": "/wA=", "k": "/wA="});
    let data = json!({"a": "b", "b": "\"", "c": "<&>", "A": "1 ", "B": "", "C": "x=y"});
    assert_eq!(object, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data, "binaryData": binary}));
}

#[test]
fn refusals_tell_no_values() {
    for (generator, message) in [
        (json!({"name": "c", "literals": ["hunter2"]}), "literals[0] is not of the form key=value"),
        (json!({"name": "c", "literals": ["a=1", "a=2"]}), "literals[1]: the key a is given twice"),
        (json!({"name": "c", "literals": ["a b=1"]}), "literals[0]: a key is made of letters, digits, `-`, `_` and `.`, and not that"),
        (json!({"name": "c", "files": ["a=b=c"]}), "files[0] is neither path nor key=path"),
        (json!({"name": "c", "files": ["=b"]}), "files[0] is neither path nor key=path"),
        (json!({"name": "c", "files": ["none"]}), "there is no file none"),
        (json!({"name": "c", "envs": ["bad.env"]}), "bad.env is not UTF-8"),
        (json!({"name": "c", "type": "Opaque"}), "type is for secretGenerator"),
        (json!({"name": ""}), "name is empty"),
        (json!({"name": "c", "behavior": "other"}), "unknown variant `other`, expected one of `create`, `merge`, `replace`"),
    ] {
        assert_eq!(made(GeneratedKind::ConfigMap, generator).unwrap_err(), message);
    }
    let secret = made(GeneratedKind::Secret, json!({"name": "s", "literals": ["p=hunter2"]})).unwrap();
    assert_eq!(format!("{secret:?}"), "Generated(Secret s)");
}

#[test]
fn merging_keeps_the_old_name_and_the_weaker_suffix() {
    let old = made(GeneratedKind::ConfigMap, json!({"name": "c", "namespace": "n", "literals": ["a=1", "b=1"]})).unwrap();
    let new = made(GeneratedKind::ConfigMap, json!({"name": "c", "behavior": "merge", "literals": ["b=2"]})).unwrap();
    let merged = new.clone().over(&old.object, old.hashed);
    assert_eq!((merged.hashed, &merged.object["data"]), (true, &json!({"a": "1", "b": "2"})));
    assert_eq!(merged.object["metadata"], json!({"name": "c", "namespace": "n"}));
    let replaced = Generated { behavior: Behavior::Replace, ..new }.over(&old.object, false);
    assert_eq!((replaced.hashed, &replaced.object["data"]), (false, &json!({"b": "2"})));
}

#[test]
fn references_stay_in_their_namespace() {
    let object = |kind: &str, namespace: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "c", "namespace": namespace}});
    let mut renames = Renames::default();
    renames.add(&object("ConfigMap", "a"), "c-1");
    renames.add(&object("ConfigMap", "b"), "c-2");
    let pod = |namespace: &str| {
        let mut pod = object("Pod", namespace);
        pod["spec"] = json!({"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "c"}}]}]});
        pod
    };
    for (namespace, expected) in [("a", "c-1"), ("b", "c-2"), ("other", "c")] {
        let mut pod = pod(namespace);
        let needed = renames.needed(&pod, Table::bundled()).unwrap();
        Rename::carry_out(&needed, &mut pod);
        let sources = &pod["spec"]["containers"][0]["envFrom"];
        assert_eq!(sources, &json!([{"configMapRef": {"name": expected}}, {"secretRef": {"name": "c"}}]));
    }
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": [{"resourceNames": ["c"]}]});
    assert_eq!(renames.needed(&role, Table::bundled()).unwrap_err(), "c may be the ConfigMap of several namespaces");
}

#[test]
fn suffixes_follow_name_and_content_alone() {
    let mut object = made(GeneratedKind::ConfigMap, json!({"name": "c", "literals": ["a=1"]})).unwrap().object;
    let suffix = name_suffix(&object);
    object["metadata"]["labels"] = json!({"a": "b"});
    object["metadata"]["namespace"] = json!("n");
    assert_eq!(name_suffix(&object), suffix);
    object["data"]["a"] = json!("2");
    assert_ne!(name_suffix(&object), suffix);
}
