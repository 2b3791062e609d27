//! What is done to objects, on a real API server.

use anyhow::{Context as _, Result, ensure};
use evenkeel::cluster::{Apply, Connection, Deletion, ErrorKind, FieldConflict, Limits};
use serde_json::{Value, json};
use testbed::{Bed, ControlPlaneOptions, bed::shared_cluster, wait_until};
use tokio::task::JoinSet;

use crate::{OURS, SOON, admin, api, apply, config_map, config_maps, connect, kind, kubeconfig, refused};

#[tokio::test]
async fn apply_creates_changes_and_leaves_alone() -> Result<()> {
    let connection = admin().await?;
    let object = config_map("applied", &json!({"a": "1"}));
    let dry = apply(&connection, &object, Apply { dry_run: true, ..OURS }).await?;
    assert!(dry.created);
    assert_eq!(connection.get_meta(&config_maps(), Some("default"), "applied").await?, None);

    let created = apply(&connection, &object, OURS).await?;
    assert!(created.created && created.warnings.is_empty());
    assert_eq!((created.meta.name.as_str(), created.meta.namespace.as_deref()), ("applied", Some("default")));
    assert!(!created.meta.uid.is_empty() && !created.meta.resource_version.is_empty());
    assert!(created.meta.fields(OURS.manager).is_some());

    let again = apply(&connection, &object, OURS).await?;
    assert!(!again.created);
    assert_eq!(again.meta, created.meta);
    let read = connection.get_meta(&config_maps(), Some("default"), "applied").await?;
    assert_eq!(read.as_ref(), Some(&created.meta));

    let changed = apply(&connection, &config_map("applied", &json!({"a": "2", "b": "3"})), OURS).await?;
    assert!(!changed.created);
    assert_eq!(changed.meta.uid, created.meta.uid);
    assert_ne!(changed.meta.fields(OURS.manager), created.meta.fields(OURS.manager));
    let whole = connection.get(&config_maps(), Some("default"), "applied").await?.context("it is gone")?;
    assert_eq!(whole["data"], json!({"a": "2", "b": "3"}));
    let sent = connection.requests();
    assert_eq!((sent.apply, sent.dry_run, sent.get, sent.writes(), sent.total()), (3, 1, 3, 3, 7));
    Ok(())
}

#[tokio::test]
async fn our_fields_tell_drift_from_what_is_none_of_our_business() -> Result<()> {
    let connection = admin().await?;
    let other = |force| Apply { manager: "other", force, dry_run: false };
    let ours = apply(&connection, &config_map("drift", &json!({"a": "1"})), OURS).await?.meta.fields(OURS.manager);
    let unowned = apply(&connection, &config_map("drift", &json!({"b": "1"})), other(false)).await?;
    assert_eq!(unowned.meta.fields(OURS.manager), ours);
    let same = apply(&connection, &config_map("drift", &json!({"a": "1", "b": "1"})), other(false)).await?;
    assert_eq!(same.meta.fields(OURS.manager), ours);
    let taken = apply(&connection, &config_map("drift", &json!({"a": "2", "b": "1"})), other(true)).await?;
    assert_ne!(taken.meta.fields(OURS.manager), ours);
    assert!(taken.meta.is_managed_by("other"));
    let back = apply(&connection, &config_map("drift", &json!({"a": "1"})), Apply { force: true, ..OURS }).await?;
    assert_eq!(back.meta.fields(OURS.manager), ours);
    Ok(())
}

#[tokio::test]
async fn conflicts_name_managers_and_fields() -> Result<()> {
    let connection = admin().await?;
    let namespaced = shared_cluster().await?.api()?;
    namespaced
        .create("/api/v1/namespaces/default/configmaps?fieldManager=kubectl-create", &config_map("contested", &json!({"b": "1"})))
        .await?;
    apply(&connection, &config_map("contested", &json!({"a": "1"})), Apply { manager: "first", ..OURS }).await?;
    let error = refused(apply(&connection, &config_map("contested", &json!({"a": "2", "b": "2"})), OURS).await)?;
    let ErrorKind::Conflict(mut fields) = error.kind().clone() else { anyhow::bail!("{error:?}") };
    fields.sort_by(|one, other| one.field.cmp(&other.field));
    let conflict = |manager: &str, field: &str| FieldConflict { manager: manager.into(), field: field.into() };
    assert_eq!(fields, [conflict("first", ".data.a"), conflict("kubectl-create", ".data.b")]);
    assert_eq!((error.status(), error.code().id), (Some(409), "EK4002"));
    Ok(())
}

#[tokio::test]
async fn what_the_server_finds_wrong() -> Result<()> {
    let connection = admin().await?;
    let mut unknown = config_map("wrong", &json!({}));
    unknown["surprise"] = json!(1);
    let error = refused(apply(&connection, &unknown, OURS).await)?;
    assert_eq!((error.kind(), error.code().id), (&ErrorKind::Invalid, "EK4001"));
    assert!(error.message().contains("surprise"), "{error}");

    let typed = refused(apply(&connection, &config_map("wrong", &json!({"a": 1})), OURS).await)?;
    assert_eq!(*typed.kind(), ErrorKind::Invalid);

    let absent = connection.apply(&config_maps(), Some("nowhere"), "wrong", config_map("wrong", &json!({})).to_string().into(), OURS).await;
    assert_eq!(kind(absent)?, ErrorKind::Invalid, "body and path name different namespaces");
    let mut elsewhere = config_map("wrong", &json!({}));
    elsewhere["metadata"]["namespace"] = json!("nowhere");
    let absent = refused(connection.apply(&config_maps(), Some("nowhere"), "wrong", elsewhere.to_string().into(), OURS).await)?;
    assert_eq!(*absent.kind(), ErrorKind::NotFound);
    assert!(absent.message().contains("nowhere"), "{absent}");

    for unserved in [api("shop.example", "v1", "Cart", "carts", true), api("apps", "v9", "Deployment", "deployments", true)] {
        assert_eq!(kind(connection.get(&unserved, Some("default"), "a").await)?, ErrorKind::NoSuchKind);
    }
    Ok(())
}

fn deployment(app: &str, node: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": {"app": app}}, "spec": {"nodeSelector": node, "containers": [{"name": "web", "image": "web:1"}]}},
    }})
}

#[tokio::test]
async fn warnings_and_immutable_fields() -> Result<()> {
    let connection = admin().await?;
    let deployments = api("apps", "v1", "Deployment", "deployments", true);
    let send = |object: Value| connection.apply(&deployments, Some("default"), "web", object.to_string().into(), OURS);
    let warned = send(deployment("web", &json!({"beta.kubernetes.io/os": "linux"}))).await?;
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
    assert!(warned.warnings[0].contains("beta.kubernetes.io/os"), "{:?}", warned.warnings);
    assert_eq!(warned.meta.generation, Some(1));

    let error = refused(send(deployment("other", &json!({}))).await)?;
    assert!(error.is_immutable(), "{error}");
    assert_eq!((error.kind(), error.code().id), (&ErrorKind::Invalid, "EK4010"));
    Ok(())
}

#[tokio::test]
async fn policies_refuse_and_rbac_forbids() -> Result<()> {
    let users = vec![("guest".to_owned(), vec!["guests".to_owned()])];
    let cluster = Bed::shared().await?.cluster_with("policies", ControlPlaneOptions { users, ..Default::default() }).await?;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
        // The same status as that of a missing right.
        "validations": [{"expression": "!object.metadata.name.startsWith('bad')", "message": "bad names", "reason": "Forbidden"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no"},
        "spec": {"policyName": "no", "validationActions": ["Deny"]}});
    let server = cluster.api()?;
    server.create(&format!("{admission}/validatingadmissionpolicies"), &policy).await?;
    server.create(&format!("{admission}/validatingadmissionpolicybindings"), &binding).await?;

    let (_folder, as_admin) = kubeconfig(&cluster.kubeconfig("web"))?;
    let connection = connect(&as_admin, Limits::default()).await?;
    let dry = Apply { dry_run: true, ..OURS };
    let error = wait_until(SOON, "the policy is in force", || async {
        let result = apply(&connection, &config_map("bad", &json!({})), dry).await;
        result.err().context("not refused yet")
    })
    .await?;
    assert_eq!((error.kind(), error.code().id, error.status()), (&ErrorKind::Refused, "EK4001", Some(403)));
    assert!(error.message().contains("bad names"), "{error}");
    apply(&connection, &config_map("good", &json!({})), dry).await?;

    let (_folder, as_guest) = kubeconfig(&cluster.kubeconfig_for("web", testbed::Credentials::Token(cluster.user_token("guest"))))?;
    let guest = connect(&as_guest, Limits::default()).await?;
    let error = refused(apply(&guest, &config_map("good", &json!({})), dry).await)?;
    assert_eq!((error.kind(), error.code().id), (&ErrorKind::Forbidden, "EK4011"));
    assert_eq!(kind(guest.list(&config_maps(), "").await)?, ErrorKind::Forbidden);
    Ok(())
}

#[tokio::test]
async fn deletion_takes_only_what_was_meant() -> Result<()> {
    let connection = admin().await?;
    let maps = config_maps();
    let made = apply(&connection, &config_map("doomed", &json!({})), OURS).await?.meta;
    let newer = apply(&connection, &config_map("doomed", &json!({"a": "1"})), OURS).await?.meta;
    let delete = |uid: String, version: Option<String>| {
        let (connection, maps) = (connection.clone(), maps.clone());
        async move { connection.delete(&maps, Some("default"), "doomed", &uid, version.as_deref()).await }
    };
    let stranger = "00000000-0000-0000-0000-000000000000".to_owned();
    assert_eq!(kind(delete(stranger, None).await)?, ErrorKind::PreconditionFailed);
    assert_eq!(kind(delete(made.uid.clone(), Some(made.resource_version)).await)?, ErrorKind::PreconditionFailed);
    assert!(connection.get_meta(&maps, Some("default"), "doomed").await?.is_some());
    assert_eq!(delete(made.uid.clone(), Some(newer.resource_version)).await?, Deletion::Gone);
    assert_eq!(delete(made.uid, None).await?, Deletion::NotFound);
    assert_eq!(connection.get(&maps, Some("default"), "doomed").await?, None);
    Ok(())
}

#[tokio::test]
async fn deletion_waits_for_finalizers_and_for_namespaces() -> Result<()> {
    let connection = admin().await?;
    let mut object = config_map("held", &json!({}));
    object["metadata"]["finalizers"] = json!(["shop.example/hold"]);
    let held = apply(&connection, &object, OURS).await?.meta;
    let pending = Deletion::Pending { finalizers: vec!["shop.example/hold".to_owned()] };
    for _ in 0..2 {
        assert_eq!(connection.delete(&config_maps(), Some("default"), "held", &held.uid, None).await?, pending);
    }
    let meta = connection.get_meta(&config_maps(), Some("default"), "held").await?.context("it is gone")?;
    assert!(meta.deleting);

    let namespaces = api("", "v1", "Namespace", "namespaces", false);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "leaving"}});
    let made = connection.apply(&namespaces, None, "leaving", object.to_string().into(), OURS).await?.meta;
    for _ in 0..2 {
        let deletion = connection.delete(&namespaces, None, "leaving", &made.uid, None).await?;
        ensure!(matches!(deletion, Deletion::Pending { .. }), "{deletion:?}");
    }
    let mut late = config_map("late", &json!({}));
    late["metadata"]["namespace"] = json!("leaving");
    let late = refused(connection.apply(&config_maps(), Some("leaving"), "late", late.to_string().into(), OURS).await)?;
    assert_eq!(*late.kind(), ErrorKind::Refused, "{late}");
    Ok(())
}

#[tokio::test]
async fn create_and_replace_notice_others() -> Result<()> {
    let connection = admin().await?;
    let maps = config_maps();
    let mut parent = connection.create(&maps, Some("default"), &config_map("parent", &json!({"a": "1"}))).await?;
    assert_eq!(kind(connection.create(&maps, Some("default"), &config_map("parent", &json!({}))).await)?, ErrorKind::AlreadyExists);
    let stale = parent.clone();
    parent["data"]["a"] = json!("2");
    let replaced = connection.replace(&maps, Some("default"), "parent", &parent).await?;
    assert_eq!(replaced["data"]["a"], "2");
    assert_eq!(kind(connection.replace(&maps, Some("default"), "parent", &stale).await)?, ErrorKind::PreconditionFailed);
    Ok(())
}

#[tokio::test]
async fn a_patch_is_of_the_object_that_was_read() -> Result<()> {
    let connection = admin().await?;
    let maps = config_maps();
    apply(&connection, &config_map("patched", &json!({"v": "1"})), OURS).await?;
    let read = connection.get(&maps, Some("default"), "patched").await?.context("it was applied")?;
    let mut entry = read["metadata"]["managedFields"][0].clone();
    entry["manager"] = "another".into();
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": read["metadata"]["resourceVersion"]},
    ]);
    apply(&connection, &config_map("patched", &json!({"v": "2"})), OURS).await?;
    let send = || connection.patch(&maps, Some("default"), "patched", "evenkeel-shop", &patch);
    assert_eq!(kind(send().await)?, ErrorKind::PreconditionFailed, "it changed since");
    let mut patch = patch.clone();
    let now = connection.get_meta(&maps, Some("default"), "patched").await?.context("it is there")?;
    patch[1]["value"] = now.resource_version.into();
    connection.patch(&maps, Some("default"), "patched", "evenkeel-shop", &patch).await?;
    let patched = connection.get_meta(&maps, Some("default"), "patched").await?.context("it is there")?;
    assert!(patched.is_managed_by("another") && !patched.is_managed_by("evenkeel-shop"), "{patched:?}");
    assert_eq!(connection.requests().patch, 2);
    Ok(())
}

#[tokio::test]
async fn lists_are_read_in_pages() -> Result<()> {
    const OBJECTS: usize = 1_200;
    let connection = admin().await?;
    let mut writing = JoinSet::new();
    for number in 0..OBJECTS {
        let connection: Connection = connection.clone();
        let mut object = config_map(&format!("paged-{number}"), &json!({}));
        object["metadata"]["labels"] = json!({"set": "paged", "half": if number % 2 == 0 { "even" } else { "odd" }});
        writing.spawn(async move { apply(&connection, &object, OURS).await });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let before = connection.requests().list;
    let mut names: Vec<_> = connection.list(&config_maps(), "set=paged").await?.objects.into_iter().map(|meta| meta.name).collect();
    assert_eq!(connection.requests().list - before, 3);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OBJECTS);
    let even = connection.list(&config_maps(), "set=paged,half in (even)").await?;
    assert_eq!(even.objects.len(), OBJECTS / 2);
    assert!(even.objects.iter().all(|meta| meta.labels["half"] == "even" && meta.fields(OURS.manager).is_some()));
    Ok(())
}

#[tokio::test]
async fn discovery_knows_what_is_served() -> Result<()> {
    let cluster = Bed::shared().await?.cluster("discovered").await?;
    let (_folder, kubeconfig) = kubeconfig(&cluster.kubeconfig("web"))?;
    let connection = connect(&kubeconfig, Limits::default()).await?;
    let apis = connection.discover().await?;
    assert_eq!(connection.requests().discover, 3);
    assert!(apis.server_version().starts_with("v1."), "{}", apis.server_version());
    let role = apis.preferred("rbac.authorization.k8s.io", "ClusterRole").context("no ClusterRole")?;
    assert_eq!((&*role.version, &*role.plural, role.namespaced), ("v1", "clusterroles", false));
    assert_eq!(apis.find("", "v1", "ConfigMap"), Some(&config_maps()));
    assert_eq!(apis.facts().scopes.get(&("apps".into(), "Deployment".into())), Some(&true));
    assert_eq!(apis.preferred("shop.example", "Cart"), None);
    assert!(apis.unavailable().is_empty());

    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "carts.shop.example"}, "spec": {
        "group": "shop.example", "scope": "Namespaced", "names": {"plural": "carts", "kind": "Cart"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    // Nothing answers for this group, as when the server behind an APIService is down.
    let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.broken.example"}, "spec": {
        "group": "broken.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
        "service": {"name": "absent", "namespace": "default"}}});
    let server = cluster.api()?;
    server.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await?;
    server.create("/apis/apiregistration.k8s.io/v1/apiservices", &service).await?;
    let apis = wait_until(SOON, "both are in discovery", || async {
        let apis = connection.discover().await?;
        let both = apis.preferred("shop.example", "Cart").is_some() && apis.is_unavailable("broken.example", None);
        both.then_some(apis).context("not yet")
    })
    .await?;
    assert!(apis.is_unavailable("broken.example", Some("v1")) && !apis.is_unavailable("shop.example", None));
    assert!(apis.with_verbs(&["list", "patch", "delete"]).any(|api| api.kind == "Cart"));
    Ok(())
}
