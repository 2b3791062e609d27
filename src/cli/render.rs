//! `evenkeel render`: what a cluster must run.

use std::{fmt::Write as _, sync::Arc, thread};

use clap::Args;
use serde_json::{Value, json};

use super::{
    OutputArg,
    error::{CommandError, Exit},
    printer::Printer,
    repo::RepoArgs,
    settings_file::SettingsFile,
    table::clean,
    values::Output,
};
use crate::{
    codes,
    layout::{self, Fleet},
    manifest::{DigestKey, MASK, is_plain_field_of_secret, mask_copies},
    render::{Facts, RenderedObject, Renderer},
};

/// Print what a cluster must run, values of Secrets masked
#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    #[command(flatten)]
    repo: RepoArgs,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: RenderArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let source = args.repo.open(file)?;
    let refuse = |problems: Vec<_>, printer: &mut Printer<'_>| {
        printer.problems(&problems);
        Ok(Exit::Amiss)
    };
    let fleet = match layout::read(&*source) {
        Ok(fleet) => fleet,
        Err(problems) => return refuse(problems, printer),
    };
    let cluster = fleet.cluster(&args.cluster).ok_or_else(|| unknown(&args.cluster, &fleet))?;
    // The digests are taken out again, so that any key will do.
    let renderer = Renderer::new(file.namespace(), DigestKey::new([0; 32]));
    let rendering = match renderer.render_alone(&*source, &fleet, cluster, &Facts::default()) {
        Ok(rendering) => rendering,
        Err(problems) => return refuse(problems, printer),
    };
    printer.data(&match output {
        Output::Json => as_list(&rendering.objects)?,
        Output::Table | Output::Yaml => as_documents(&rendering.objects),
    })?;
    // The process ends here: to give so much memory back piece by piece would take longer than to print it.
    std::mem::forget((renderer, rendering));
    Ok(Exit::Done)
}

pub(super) fn unknown(name: &str, fleet: &Fleet) -> CommandError {
    let names: Vec<&str> = fleet.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    CommandError::new(codes::UNKNOWN_CLUSTER, format!("the repository has no cluster `{name}`"))
        .with_hint(format!("It has: {}.", clean(&names.join(", "))))
}

/// The object as Evenkeel holds it, without a Secret's values.
pub(super) fn shown(object: &RenderedObject) -> Value {
    masked(object, object.content())
}

fn masked(object: &RenderedObject, mut value: Value) -> Value {
    if object.id.is("", "Secret") {
        hide(&mut value);
    }
    value
}

/// Masks all of a Secret that may be secret. What is no map where one belongs is refused by the server only, and masked too.
fn hide(secret: &mut Value) {
    secret.pointer_mut("/metadata/annotations").into_iter().for_each(mask_copies);
    for (field, value) in secret.as_object_mut().into_iter().flatten() {
        match value {
            _ if is_plain_field_of_secret(field) => {}
            Value::Object(entries) => entries.values_mut().for_each(|value| *value = MASK.into()),
            value => *value = MASK.into(),
        }
    }
}

/// One `List`, as kubectl prints it.
fn as_list(objects: &[Arc<RenderedObject>]) -> Result<String, CommandError> {
    let items: Vec<Value> = objects.iter().map(|object| masked(object, object.whole())).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    Ok(serde_json::to_string_pretty(&list).map_err(std::io::Error::from)? + "\n")
}

/// Documents, each below its bundle and the place where it was first given.
fn as_documents(objects: &[Arc<RenderedObject>]) -> String {
    let text = |objects: &[Arc<RenderedObject>]| {
        let mut text = String::new();
        for object in objects {
            let _ = writeln!(text, "---\n# bundle {}, from {}", clean(&object.bundle), clean(&object.origin.place().to_string()));
            text.push_str(&kube_yaml::emit(&masked(object, object.whole())));
        }
        text
    };
    // It takes about as long as the rendering did, and each object is a text of its own.
    let (one, other) = objects.split_at(objects.len() / 2);
    thread::scope(|scope| {
        let one = scope.spawn(|| text(one));
        let other = text(other);
        one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) + &other
    })
}
