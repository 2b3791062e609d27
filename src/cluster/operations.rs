//! What a connection is used for.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Api, ApiError, Apis, Connection, ErrorKind, Meta, address,
    connection::{Answer, Ask, Verb},
    discovery::{ResourceList, Root},
    mask::mask,
    meta::{MetaOnly, Page},
    warning::warnings,
};

pub(super) const JSON: &str = "application/json";
/// Metadata without content, which every kube-apiserver gives; some servers behind an APIService do not.
pub(super) const META: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const META_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// One document for all groups (since 1.26, v2 since 1.30), or the classic one.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// A body that JSON is valid for, since JSON is YAML: the server reads the very bytes that were digested.
const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// RFC 6902.
const JSON_PATCH: &str = "application/json-patch+json";
/// A list is begun again this often when the server's snapshot of it expires on the way.
const LIST_STARTS_MAX: usize = 3;

/// Group versions that are asked for one by one, each by a task of its own. A cluster with a thousand definitions in as many
/// groups stays below.
const VERSIONS_MAX: usize = 2_000;

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apply<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Take fields over from other managers.
    pub force: bool,
    /// Let the server check everything, but write nothing.
    pub dry_run: bool,
}

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The object was not there before.
    pub created: bool,
    /// Its metadata afterwards.
    pub meta: Meta,
    /// The server's warnings.
    pub warnings: Vec<String>,
}

/// What is there of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The objects' metadata.
    pub objects: Vec<Meta>,
    /// All that happened up to here is in it; a watch goes on from here.
    pub resource_version: String,
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The object is gone.
    Gone,
    /// It is marked, and goes when these finalizers are removed (of a namespace: when it is empty).
    Pending {
        /// metadata.finalizers
        finalizers: Vec<String>,
    },
    /// It was not there.
    NotFound,
}

impl Connection {
    /// The uid of the namespace kube-system, by which a cluster is known whatever its address.
    pub async fn identity(&self) -> Result<String, ApiError> {
        let namespaces =
            Api { group: String::new(), version: "v1".into(), kind: "Namespace".into(), plural: "namespaces".into(), namespaced: false };
        let meta = self.get_meta(&namespaces, None, "kube-system").await?;
        let meta = meta.ok_or_else(|| ApiError::new(ErrorKind::Protocol, "the cluster has no namespace kube-system"))?;
        if meta.uid.is_empty() { Err(ApiError::new(ErrorKind::Protocol, "the namespace kube-system has no uid")) } else { Ok(meta.uid) }
    }

    /// All that the server serves: three requests, or one for each group and version where it has no aggregated discovery.
    pub async fn discover(&self) -> Result<Apis, ApiError> {
        let version: Value = parse(&self.fetch(Verb::Discover, "/version".to_owned(), JSON).await?)?;
        let mut apis = Apis::of_version(version["gitVersion"].as_str().unwrap_or_default().to_owned());
        for path in ["/api", "/apis"] {
            match parse(&self.fetch(Verb::Discover, path.to_owned(), DISCOVERY).await?)? {
                Root::Aggregated(document) => apis.add_aggregated(document),
                root => self.discover_each(&mut apis, path, root.group_versions()).await?,
            }
        }
        Ok(apis)
    }

    async fn discover_each(&self, apis: &mut Apis, root: &'static str, wanted: Vec<(String, String)>) -> Result<(), ApiError> {
        if wanted.len() > VERSIONS_MAX {
            let message = format!("the server lists {} group versions at {root}, more than {VERSIONS_MAX}", wanted.len());
            return Err(ApiError::new(ErrorKind::TooLarge, message));
        }
        let mut reading = JoinSet::new();
        for (at, (group, version)) in wanted.iter().enumerate() {
            let path = if group.is_empty() { format!("{root}/{version}") } else { format!("{root}/{group}/{version}") };
            let connection = self.clone();
            reading.spawn(async move {
                (at, connection.fetch(Verb::Discover, path, JSON).await.and_then(|answer| parse::<ResourceList>(&answer)))
            });
        }
        let mut documents: Vec<_> = std::iter::repeat_with(|| None).take(wanted.len()).collect();
        while let Some(joined) = reading.join_next().await {
            let (at, document) = joined.map_err(|error| ApiError::new(ErrorKind::Protocol, error.to_string()))?;
            documents[at] = Some(document);
        }
        for ((group, version), document) in wanted.iter().zip(documents) {
            match document {
                Some(Ok(document)) => apis.add_resources(group, version, document),
                Some(Err(error)) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Unauthorized | ErrorKind::Moved) => {
                    return Err(error);
                }
                // The server behind one APIService does not answer; that says nothing of the others.
                Some(Err(_)) | None => apis.add_unavailable(group, version),
            }
        }
        Ok(())
    }

    /// Server-side apply of the object whose JSON the body is. Fields that the server does not know are refused.
    pub async fn apply(&self, api: &Api, namespace: Option<&str>, name: &str, body: Bytes, how: Apply<'_>) -> Result<Applied, ApiError> {
        let answer = self.send_apply(api, namespace, name, &body, how, META).await?;
        let object: MetaOnly = parse(&answer)?;
        let warnings = warnings(&answer.headers).iter().map(|text| mask(text, &body)).collect();
        Ok(Applied { created: answer.status == StatusCode::CREATED, meta: object.metadata, warnings })
    }

    /// What the object would be after that apply, whole; nothing is written, whatever `how` says.
    pub async fn try_apply(&self, api: &Api, namespace: Option<&str>, name: &str, body: Bytes, how: Apply<'_>) -> Result<Value, ApiError> {
        parse(&self.send_apply(api, namespace, name, &body, Apply { dry_run: true, ..how }, JSON).await?)
    }

    async fn send_apply(
        &self,
        api: &Api,
        namespace: Option<&str>,
        name: &str,
        body: &Bytes,
        how: Apply<'_>,
        accept: &'static str,
    ) -> Result<Answer, ApiError> {
        let force = if how.force { "true" } else { "false" };
        let mut query = vec![("fieldManager", how.manager), ("force", force), ("fieldValidation", "Strict")];
        if how.dry_run {
            query.push(("dryRun", "All"));
        }
        let ask = Ask {
            verb: if how.dry_run { Verb::DryRun } else { Verb::Apply },
            method: Method::PATCH,
            path: address::with_query(&address::object(api, namespace, name)?, &query),
            accept,
            content_type: APPLY_PATCH,
            body: body.clone(),
        };
        self.ask(ask).await.map_err(|error| error.map_text(|text| mask(text, body)))
    }

    /// The metadata of all objects of the kind, in all namespaces, that the label selector selects.
    pub async fn list(&self, api: &Api, label_selector: &str) -> Result<Listed, ApiError> {
        let mut starts = 1;
        loop {
            let mut objects = Vec::new();
            match self.pages(api, label_selector, META_LIST, &mut |object: MetaOnly| objects.push(object.metadata)).await {
                Err(error) if *error.kind() == ErrorKind::Expired && starts < LIST_STARTS_MAX => starts += 1,
                result => return result.map(|resource_version| Listed { objects, resource_version }),
            }
        }
    }

    /// Shows all objects of the kind that the label selector selects, a page at a time. One may be shown twice, where the list had
    /// to be begun again.
    pub async fn list_objects(&self, api: &Api, label_selector: &str, see: &mut (dyn FnMut(Value) + Send)) -> Result<(), ApiError> {
        let mut starts = 1;
        loop {
            match self.pages(api, label_selector, JSON, see).await {
                Err(error) if *error.kind() == ErrorKind::Expired && starts < LIST_STARTS_MAX => starts += 1,
                result => return result.map(drop),
            }
        }
    }

    /// Shows a list's objects once, and tells its resourceVersion.
    async fn pages<T: DeserializeOwned>(
        &self,
        api: &Api,
        label_selector: &str,
        accept: &'static str,
        see: &mut (dyn FnMut(T) + Send),
    ) -> Result<String, ApiError> {
        let path = address::collection(api, None)?;
        let limits = self.limits();
        let page_size = limits.page.to_string();
        let (mut seen, mut next) = (0, String::new());
        loop {
            let mut query = vec![("limit", &*page_size)];
            if !label_selector.is_empty() {
                query.push(("labelSelector", label_selector));
            }
            if !next.is_empty() {
                query.push(("continue", &*next));
            }
            let page: Page<T> = parse(&self.fetch(Verb::List, address::with_query(&path, &query), accept).await?)?;
            // A page without objects counts too: the server must not keep us turning pages.
            seen += page.items.len().max(1);
            page.items.into_iter().for_each(&mut *see);
            if seen > limits.list {
                return Err(ApiError::new(
                    ErrorKind::TooLarge,
                    format!("there are more than {} objects of kind {}", limits.list, api.kind),
                ));
            }
            if page.metadata.next.is_empty() {
                return Ok(page.metadata.resource_version);
            }
            // A server that repeats itself would never end the list.
            if page.metadata.next == next {
                return Err(ApiError::new(ErrorKind::Protocol, format!("the list of kind {} does not go on", api.kind)));
            }
            next = page.metadata.next;
        }
    }

    /// The object; none if it is not there.
    pub async fn get(&self, api: &Api, namespace: Option<&str>, name: &str) -> Result<Option<Value>, ApiError> {
        self.get_as(api, namespace, name, JSON).await
    }

    /// The object's metadata; none if it is not there.
    pub async fn get_meta(&self, api: &Api, namespace: Option<&str>, name: &str) -> Result<Option<Meta>, ApiError> {
        Ok(self.get_as::<MetaOnly>(api, namespace, name, META).await?.map(|object| object.metadata))
    }

    async fn get_as<T: DeserializeOwned>(
        &self,
        api: &Api,
        namespace: Option<&str>,
        name: &str,
        accept: &'static str,
    ) -> Result<Option<T>, ApiError> {
        match self.fetch(Verb::Get, address::object(api, namespace, name)?, accept).await {
            Ok(answer) => parse(&answer).map(Some),
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly that object, and lets the garbage collector have what it owns: another uid, or another resourceVersion
    /// where one is given, is [`ErrorKind::PreconditionFailed`].
    pub async fn delete(
        &self,
        api: &Api,
        namespace: Option<&str>,
        name: &str,
        uid: &str,
        resource_version: Option<&str>,
    ) -> Result<Deletion, ApiError> {
        let mut preconditions = json!({"uid": uid});
        if let Some(version) = resource_version {
            preconditions["resourceVersion"] = version.into();
        }
        let options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions, "propagationPolicy": "Background"});
        let path = address::object(api, namespace, name)?;
        match self.ask(write(Verb::Delete, Method::DELETE, path, &options)).await {
            Ok(answer) => deletion(&answer),
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(Deletion::NotFound),
            // A namespace that is being emptied answers a second deletion in this way.
            Err(error) if *error.kind() == ErrorKind::PreconditionFailed && !error.message().to_lowercase().contains("precondition") => {
                match self.get_meta(api, namespace, name).await? {
                    Some(meta) if meta.deleting && meta.uid == uid => Ok(Deletion::Pending { finalizers: meta.finalizers }),
                    Some(_) => Err(error),
                    None => Ok(Deletion::NotFound),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Creates an object; one that is there is [`ErrorKind::AlreadyExists`].
    pub async fn create(&self, api: &Api, namespace: Option<&str>, body: &Value) -> Result<Value, ApiError> {
        let path = address::collection(api, namespace)?;
        parse(&self.ask(write(Verb::Create, Method::POST, path, body)).await?)
    }

    /// Replaces an object by one that holds its resourceVersion; where it changed since, [`ErrorKind::PreconditionFailed`].
    pub async fn replace(&self, api: &Api, namespace: Option<&str>, name: &str, body: &Value) -> Result<Value, ApiError> {
        let path = address::object(api, namespace, name)?;
        parse(&self.ask(write(Verb::Replace, Method::PUT, path, body)).await?)
    }

    /// Patches an object by JSON patch. Where the patch names a resourceVersion and the object changed since,
    /// [`ErrorKind::PreconditionFailed`].
    pub async fn patch(&self, api: &Api, namespace: Option<&str>, name: &str, manager: &str, patch: &Value) -> Result<(), ApiError> {
        let path = address::with_query(&address::object(api, namespace, name)?, &[("fieldManager", manager)]);
        self.send_patch(Verb::Patch, path, META, patch).await.map(drop)
    }

    /// What the object would be after that JSON patch, whole; nothing is written.
    pub async fn try_patch(&self, api: &Api, namespace: Option<&str>, name: &str, manager: &str, patch: &Value) -> Result<Value, ApiError> {
        let path = address::with_query(&address::object(api, namespace, name)?, &[("fieldManager", manager), ("dryRun", "All")]);
        parse(&self.send_patch(Verb::DryRun, path, JSON, patch).await?)
    }

    async fn send_patch(&self, verb: Verb, path: String, accept: &'static str, patch: &Value) -> Result<Answer, ApiError> {
        let body = Bytes::from(patch.to_string());
        self.ask(Ask { verb, method: Method::PATCH, path, accept, content_type: JSON_PATCH, body }).await
    }

    async fn fetch(&self, verb: Verb, path: String, accept: &'static str) -> Result<Answer, ApiError> {
        self.ask(Ask { verb, method: Method::GET, path, accept, content_type: "", body: Bytes::new() }).await
    }
}

fn write(verb: Verb, method: Method, path: String, body: &Value) -> Ask {
    Ask { verb, method, path, accept: JSON, content_type: JSON, body: body.to_string().into() }
}

/// The answer to a deletion is a `Status` when the object is gone, and the object when it waits for something.
fn deletion(answer: &Answer) -> Result<Deletion, ApiError> {
    let body: Value = parse(answer)?;
    if body["kind"] == "Status" || body["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Deletion::Gone);
    }
    let finalizers = body["metadata"]["finalizers"].as_array();
    Ok(Deletion::Pending { finalizers: finalizers.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect() })
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Only where it went wrong: the text may be that of a Secret.
        let at = format!("line {}, column {}", error.line(), error.column());
        ApiError::new(ErrorKind::Protocol, format!("the server answered {} with what is not the JSON expected ({at})", answer.status))
    })
}
