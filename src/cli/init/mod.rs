//! `evenkeel init`: a repository to start from.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::clean,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    layout::is_dns_label,
};

/// Write a repository to start from
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The fleet's name: lower-case letters, digits and `-` [default: the folder's name]
    #[arg(long, value_name = "NAME", env = "EVENKEEL_NAME")]
    name: Option<String>,
}

macro_rules! template {
    ($($path:literal)*) => { &[$(($path, include_str!(concat!("template/", $path)))),*] };
}

/// Path and text of every file.
const FILES: &[(&str, &str)] = template! {
    "evenkeel.yaml"
    ".evenkeelignore"
    "README.md"
    "base/hello/bundle.yaml"
    "base/hello/deployment.yaml"
    "base/hello/namespace.yaml"
    "regions/eu/base/overlay.yaml"
    "environments/staging/environment.yaml"
    "environments/staging/base/overlay.yaml"
    "environments/staging/eu/staging-eu-1/cluster.yaml"
    "environments/production/environment.yaml"
    "environments/production/base/overlay.yaml"
    "environments/production/base/hello/memory.patch.yaml"
    "environments/production/eu/prod-eu-1/cluster.yaml"
};
/// What stands for the fleet's name in them.
const NAME: &str = "FLEET_NAME";
/// What would be read together with the files, and is in their way too.
const ALSO_READ: [&str; 2] = ["components", "policies"];

pub(super) fn run(args: InitArgs, file: &SettingsFile, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let name = args.name.or_else(|| file.name.clone()).map_or_else(|| name_of(&args.dir), Ok)?;
    if !is_dns_label(&name) {
        return Err(CommandError::usage(format!("`{name}` is not made of lower-case letters, digits and `-`, at most 63")));
    }
    let taken = taken(&args.dir);
    if !taken.is_empty() {
        let message = format!("{} holds {} already; nothing was written", args.dir.display(), taken.join(", "));
        return Err(CommandError::new(codes::IN_THE_WAY, message));
    }
    let mut made = Made::default();
    if let Err((path, why)) = write_all(&args.dir, &name, &mut made) {
        made.take_back();
        let problem = Diagnostic::new(codes::OUTPUT, Place::Nowhere, format!("cannot write {}: {why}; nothing was left", path.display()));
        return Err(problem.with_hint("Check the folder's owner and mode, and the disk.").into());
    }
    printer.data(&told(&args.dir, &name))?;
    Ok(Exit::Done)
}

/// The folder's name, if it can name a fleet.
fn name_of(dir: &Path) -> Result<String, CommandError> {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).filter(|name| is_dns_label(name));
    name.ok_or_else(|| CommandError::usage("the folder's name cannot name a fleet").with_hint("Give the fleet's name with --name."))
}

/// What stands in the way: files and folders of the root, since a folder that is there would be read with ours.
fn taken(dir: &Path) -> Vec<&'static str> {
    let mut roots: Vec<&str> = FILES.iter().filter_map(|(path, _)| path.split('/').next()).chain(ALSO_READ).collect();
    roots.dedup();
    roots.retain(|name| dir.join(name).symlink_metadata().is_ok());
    roots
}

/// What was made, in this order.
#[derive(Default)]
struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        fs::create_dir(path)?;
        self.folders.push(path.to_owned());
        Ok(())
    }

    /// A new file; one that is there by now is left as it is.
    fn file(&mut self, path: &Path, text: &str) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.folder(parent))?;
        let mut file = fs::File::create_new(path)?;
        self.files.push(path.to_owned());
        file.write_all(text.as_bytes())
    }

    /// Removes what was made. A folder into which somebody else has put something stays.
    fn take_back(&self) {
        self.files.iter().for_each(|path| drop(fs::remove_file(path)));
        self.folders.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

fn write_all(dir: &Path, name: &str, made: &mut Made) -> Result<(), (PathBuf, io::Error)> {
    for (path, text) in FILES {
        let path = dir.join(path);
        made.file(&path, &text.replace(NAME, name)).map_err(|why| (path, why))?;
    }
    Ok(())
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

fn told(dir: &Path, name: &str) -> String {
    let shown = clean(&dir.display().to_string());
    let mut text = format!("Fleet {name} is in {shown}: clusters staging-eu-1 and prod-eu-1, bundle hello.\n\n");
    for (path, _) in FILES {
        let _ = writeln!(text, "  {path}");
    }
    let cd = if dir == Path::new(".") { String::new() } else { format!("  cd {}\n", quoted(&shown)) };
    text + &format!(
        "\nNext:\n\n{cd}  evenkeel check                  # finds every mistake\n  \
         evenkeel render staging-eu-1    # shows what a cluster must run\n  \
         git init --initial-branch main && git add --all && git commit --message 'Begin the fleet'\n\n\
         Give the clusters' folders, and the names in their cluster.yaml, the names of your kubeconfig's contexts; push; and run:\n\n  \
         evenkeel run --repo URL --state-dir DIR --kubeconfig FILE\n"
    )
}
