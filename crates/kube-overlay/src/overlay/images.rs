//! `images`: new names, tags and digests for what containers run.

use super::{Run, Slot};
use crate::identity;
use crate::merge::Merged;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;

/// What becomes of the images of this name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The image's name as the manifests have it, without tag and digest.
    pub name: String,
    /// Another name.
    #[serde(default)]
    pub new_name: String,
    /// Another tag; the digest goes, unless a new one is given too.
    #[serde(default)]
    pub new_tag: String,
    /// Another digest (`sha256:…`); the tag goes, unless a new one is given too.
    #[serde(default)]
    pub digest: String,
    /// Added to the tag; the digest goes. It counts where neither a tag nor a digest is given.
    #[serde(default)]
    pub tag_suffix: String,
}

/// The parts of an image reference: `[host[:port]/]name[:tag][@digest]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reference<'a> {
    name: &'a str,
    tag: &'a str,
    digest: &'a str,
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Self {
        let (text, digest) = text.split_once('@').unwrap_or((text, ""));
        let path_start = text.find('/').unwrap_or(0);
        let (name, tag) = match text[path_start..].find(':') {
            Some(colon) => (&text[..path_start + colon], &text[path_start + colon + 1..]),
            None => (text, ""),
        };
        Self { name, tag, digest }
    }
}

impl Image {
    /// Whether the image is of this name, with any tag and any sha256 digest.
    fn selects(&self, image: &str) -> bool {
        let Some(rest) = image.strip_prefix(&self.name) else { return false };
        let (tag, digest) = match rest.split_once('@') {
            Some((tag, digest)) => (tag, Some(digest)),
            None => (rest, None),
        };
        // Braces are in the tags of templates that another tool fills in.
        let plain = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.{}-".contains(&c));
        let tag_is_right = tag.is_empty() || tag.strip_prefix(':').is_some_and(plain);
        let digest_is_right = digest.is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(plain));
        tag_is_right && digest_is_right
    }

    fn rename(&self, image: &str) -> String {
        let old = Reference::parse(image);
        let mut text = if self.new_name.is_empty() { old.name.to_owned() } else { self.new_name.clone() };
        let suffixed;
        let (tag, digest) = match (self.new_tag.as_str(), self.digest.as_str()) {
            ("", "") if !self.tag_suffix.is_empty() => {
                suffixed = format!("{}{}", old.tag, self.tag_suffix);
                (suffixed.as_str(), "")
            }
            ("", "") => (old.tag, old.digest),
            new => new,
        };
        for (mark, part) in [(':', tag), ('@', digest)] {
            if !part.is_empty() {
                text.push(mark);
                text.push_str(part);
            }
        }
        text
    }
}

/// All entries, found by name.
struct Renamer<'a> {
    images: &'a [Image],
    by_name: HashMap<&'a str, Vec<usize>>,
    /// Entries whose name has a tag or digest in it, which Kustomize lets match too.
    odd: Vec<usize>,
}

/// What an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// No image is of its name.
    None,
    /// Images of its name are what it makes of them.
    Idle,
    Changes,
}

impl<'a> Renamer<'a> {
    fn new(images: &'a [Image]) -> Self {
        let mut renamer = Self { images, by_name: HashMap::new(), odd: Vec::new() };
        for (nth, image) in images.iter().enumerate() {
            if Reference::parse(&image.name).name == image.name {
                renamer.by_name.entry(&image.name).or_default().push(nth);
            } else {
                renamer.odd.push(nth);
            }
        }
        renamer
    }

    /// The first entry from `from` on that is for this image.
    fn next(&self, image: &str, from: usize) -> Option<usize> {
        let named = self.by_name.get(Reference::parse(image).name).into_iter().flatten();
        named.chain(&self.odd).copied().filter(|nth| *nth >= from && self.images[*nth].selects(image)).min()
    }

    /// What all entries, one after the other, make of an image.
    fn rename<'i>(&self, image: &'i str, used: &mut [Use]) -> Cow<'i, str> {
        let mut current = Cow::Borrowed(image);
        let mut from = 0;
        while let Some(nth) = self.next(&current, from) {
            let renamed = self.images[nth].rename(&current);
            used[nth] = used[nth].max(if renamed == current { Use::Idle } else { Use::Changes });
            current = Cow::Owned(renamed);
            from = nth + 1;
        }
        current
    }
}

pub(super) fn apply<S: Slot>(images: &[Image], run: &mut Run<'_, S>) {
    if images.is_empty() {
        return;
    }
    let renamer = Renamer::new(images);
    let mut used = vec![Use::None; images.len()];
    for at in run.positions() {
        if identity::kind(run.object(at)) == "CustomResourceDefinition" {
            continue;
        }
        let mut differs = false;
        look(run.object(at), &mut |image| differs |= *renamer.rename(image, &mut used) != *image);
        if !differs {
            continue;
        }
        let Ok(()) = run.edit::<Infallible>(at, |object| {
            change(object, &mut |image| *image = renamer.rename(image, &mut used).into_owned());
            Ok(Merged::Changed)
        });
    }
    let entries = |wanted: Use| {
        let of_use = used.iter().enumerate().filter(move |(_, used)| **used == wanted);
        of_use.map(|(nth, _)| format!("images[{nth}]"))
    };
    run.report.unmatched.extend(entries(Use::None));
    run.report.idle.extend(entries(Use::Idle));
}

/// Kustomize looks for lists of these names at any depth, custom resources included.
fn holds_containers(field: &str) -> bool {
    matches!(field, "containers" | "initContainers")
}

/// Volumes made of images are looked for only where pods and pod templates have them.
const IMAGE_VOLUMES: [&[&str]; 2] = [&["spec", "volumes"], &["spec", "template", "spec", "volumes"]];

fn look(object: &Value, see: &mut dyn FnMut(&str)) {
    look_below(object, see);
    for path in IMAGE_VOLUMES {
        let volumes = path.iter().try_fold(object, |value, field| value.get(field)).and_then(Value::as_array);
        for reference in volumes.into_iter().flatten().filter_map(|volume| volume.get("image")?.get("reference")?.as_str()) {
            see(reference);
        }
    }
}

fn look_below(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                look_below(value, see);
                if let (true, Value::Array(items)) = (holds_containers(field), value) {
                    items.iter().filter_map(|item| item.get("image")?.as_str()).for_each(&mut *see);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| look_below(item, see)),
        _ => {}
    }
}

fn change(object: &mut Value, set: &mut dyn FnMut(&mut String)) {
    change_below(object, set);
    for path in IMAGE_VOLUMES {
        let volumes = path.iter().try_fold(&mut *object, |value, field| value.get_mut(field)).and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten() {
            if let Some(Value::String(reference)) = volume.get_mut("image").and_then(|image| image.get_mut("reference")) {
                set(reference);
            }
        }
    }
}

fn change_below(value: &mut Value, set: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                change_below(value, set);
                if let (true, Value::Array(items)) = (holds_containers(field), value) {
                    for item in items {
                        if let Some(Value::String(image)) = item.get_mut("image") {
                            set(image);
                        }
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change_below(item, set)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Reference, Renamer, Use};

    #[test]
    fn references() {
        let cases = [
            ("nginx", ("nginx", "", "")),
            ("nginx:1.2", ("nginx", "1.2", "")),
            ("nginx@sha256:ab", ("nginx", "", "sha256:ab")),
            ("nginx:1.2@sha256:ab", ("nginx", "1.2", "sha256:ab")),
            ("localhost:5000/nginx", ("localhost:5000/nginx", "", "")),
            ("localhost:5000/a/nginx:1@sha256:ab", ("localhost:5000/a/nginx", "1", "sha256:ab")),
            ("", ("", "", "")),
        ];
        for (text, (name, tag, digest)) in cases {
            assert_eq!(Reference::parse(text), Reference { name, tag, digest }, "{text}");
        }
    }

    fn image(name: &str, new_name: &str, new_tag: &str, digest: &str, tag_suffix: &str) -> Image {
        let [name, new_name, new_tag, digest, tag_suffix] = [name, new_name, new_tag, digest, tag_suffix].map(str::to_owned);
        Image { name, new_name, new_tag, digest, tag_suffix }
    }

    #[test]
    fn renaming() {
        let cases = [
            (image("nginx", "", "2", "", ""), "nginx:1@sha256:ab", "nginx:2"),
            (image("nginx", "", "", "sha256:cd", ""), "nginx:1", "nginx@sha256:cd"),
            (image("nginx", "", "2", "sha256:cd", ""), "nginx", "nginx:2@sha256:cd"),
            (image("nginx", "mirror.test/nginx", "", "", ""), "nginx:1@sha256:ab", "mirror.test/nginx:1@sha256:ab"),
            (image("nginx", "", "", "", "-arm"), "nginx:1@sha256:ab", "nginx:1-arm"),
            (image("nginx", "", "2", "", ""), "nginx-extra:1", "nginx-extra:1"),
            (image("nginx", "", "2", "", ""), "docker.io/nginx:1", "docker.io/nginx:1"),
            (image("nginx", "", "2", "", ""), "nginx:not/a/tag", "nginx:not/a/tag"),
            (image("nginx", "", "2", "", ""), "nginx@md5:ab", "nginx@md5:ab"),
            (image("nginx:1", "", "2", "", ""), "nginx:1", "nginx:2"),
            (image("localhost:5000/nginx", "", "2", "", ""), "localhost:5000/nginx:1", "localhost:5000/nginx:2"),
            (image("nginx", "", "2", "", ""), "nginx:{TAG}", "nginx:2"),
        ];
        for (entry, from, to) in cases {
            assert_eq!(Renamer::new(&[entry]).rename(from, &mut [Use::None]), to, "{from}");
        }
    }

    #[test]
    fn entries_work_one_after_the_other() {
        let entries = [image("c", "d", "", "", ""), image("a", "b", "", "", ""), image("b", "c", "9", "", "")];
        let mut used = [Use::None; 3];
        assert_eq!(Renamer::new(&entries).rename("a:1", &mut used), "c:9");
        assert_eq!(used, [Use::None, Use::Changes, Use::Changes]);
    }
}
