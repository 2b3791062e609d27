//! An object of the fleet as it stands on one cluster, in as little memory as may be: there are as many as clusters times objects.

use std::{collections::BTreeMap, sync::Arc};

use super::Live;
use crate::manifest::{Digest, ObjectId};

/// All objects of the fleet on one cluster. Up to half of the tree's places are empty, so what they have room for is small.
pub type Inventory = BTreeMap<ObjectId, Box<Member>>;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that the cluster tells, none of which follows from another")]
pub struct Known {
    /// metadata.uid
    pub uid: String,
    /// metadata.resourceVersion as last seen.
    pub resource_version: String,
    /// What the object says was applied: its annotation evenkeel.dev/digest.
    pub digest: Option<Digest>,
    /// The digest of our entry in its managedFields; none where it has none.
    pub fields: Option<Digest>,
    /// What the ledger remembers of our last apply; none after the state directory was lost.
    pub recorded: Option<Live>,
    /// The bundle it was last applied from; none after the state directory was lost.
    pub bundle: Option<Arc<str>>,
    /// It stood on the cluster before the fleet took it.
    pub adopted: bool,
    /// Its live annotation evenkeel.dev/prune.
    pub prune: Option<String>,
    /// Of the Job of a hook: for which digest of its bundle it was created.
    pub run: Option<Digest>,
    /// Its deletion has begun and waits for finalizers.
    pub deleting: bool,
    /// It carries the label of the set. Who takes that away takes it out of the set: what is wanted gets it back, what is not
    /// wanted is not ours to delete.
    pub labelled: bool,
    /// Others own all that was handed over to them ([`Meta::is_superseded`](crate::cluster::Meta::is_superseded)).
    pub superseded: bool,
}

/// [`Known`], packed. What the server writes in the usual form is kept as numbers, and what is on record is not kept twice where the
/// object stands as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "as in what it packs")]
pub struct Member {
    uid: Uuid,
    resource_version: u64,
    digest: Option<Digest>,
    fields: Option<Digest>,
    bundle: Option<Arc<str>>,
    /// What does not fit; seldom there.
    rest: Option<Box<Rest>>,
    /// The record says exactly what is seen.
    as_recorded: bool,
    adopted: bool,
    deleting: bool,
    labelled: bool,
    superseded: bool,
}

/// The bytes of a uid in the form of RFC 4122.
type Uuid = [u8; 16];

/// What packs badly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rest {
    /// A uid that is no UUID.
    uid: Option<String>,
    /// A resourceVersion that is no number: the API calls it opaque (KEP-5504 makes it a number, as etcd's revisions always were).
    resource_version: Option<String>,
    recorded: Option<Live>,
    prune: Option<String>,
    run: Option<Digest>,
}

/// What is on record of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Nothing.
    None,
    /// It is as it was left.
    AsSeen,
    /// It was left otherwise.
    Other(&'a Live),
}

impl Member {
    /// metadata.uid
    pub fn uid(&self) -> String {
        self.rest.as_ref().and_then(|rest| rest.uid.clone()).unwrap_or_else(|| uuid_text(&self.uid))
    }

    /// Whether that is its uid.
    pub fn has_uid(&self, uid: &str) -> bool {
        match self.rest.as_ref().and_then(|rest| rest.uid.as_deref()) {
            Some(own) => own == uid,
            None => uuid(uid) == Some(self.uid),
        }
    }

    /// metadata.resourceVersion as last seen.
    pub fn resource_version(&self) -> String {
        let unusual = self.rest.as_ref().and_then(|rest| rest.resource_version.clone());
        unusual.unwrap_or_else(|| self.resource_version.to_string())
    }

    /// The same as a number, where it is one.
    pub(super) fn version(&self) -> Option<u64> {
        let is_usual = self.rest.as_ref().is_none_or(|rest| rest.resource_version.is_none());
        is_usual.then_some(self.resource_version)
    }

    /// [`Known::digest`]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// [`Known::fields`]
    pub fn fields(&self) -> Option<Digest> {
        self.fields
    }

    /// [`Known::bundle`]
    pub fn bundle(&self) -> Option<&Arc<str>> {
        self.bundle.as_ref()
    }

    /// [`Known::recorded`], without a copy.
    pub(super) fn record(&self) -> Record<'_> {
        match self.rest.as_ref().and_then(|rest| rest.recorded.as_ref()) {
            _ if self.as_recorded => Record::AsSeen,
            Some(live) => Record::Other(live),
            None => Record::None,
        }
    }

    /// [`Known::prune`]
    pub fn prune(&self) -> Option<&str> {
        self.rest.as_ref()?.prune.as_deref()
    }

    /// [`Known::run`]
    pub fn run(&self) -> Option<Digest> {
        self.rest.as_ref()?.run
    }

    /// [`Known::adopted`]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// [`Known::deleting`]
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// [`Known::labelled`]
    pub fn is_labelled(&self) -> bool {
        self.labelled
    }

    /// [`Known::superseded`]
    pub fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// All of it.
    pub fn known(&self) -> Known {
        let rest = self.rest.as_deref().cloned().unwrap_or_default();
        let as_seen = || Some(Live { uid: self.uid(), digest: self.digest?, fields: self.fields? });
        Known {
            uid: self.uid(),
            resource_version: self.resource_version(),
            digest: self.digest,
            fields: self.fields,
            recorded: if self.as_recorded { as_seen() } else { rest.recorded },
            bundle: self.bundle.clone(),
            adopted: self.adopted,
            prune: rest.prune,
            run: rest.run,
            deleting: self.deleting,
            labelled: self.labelled,
            superseded: self.superseded,
        }
    }

    /// Changes what is known.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        change(&mut known);
        *self = known.into();
    }
}

impl From<Known> for Member {
    fn from(known: Known) -> Self {
        let is_seen = |live: &Live| live.uid == known.uid && Some(live.digest) == known.digest && Some(live.fields) == known.fields;
        let as_recorded = known.recorded.as_ref().is_some_and(is_seen);
        let (uid, version) = (uuid(&known.uid), number(&known.resource_version));
        let rest = Rest {
            uid: uid.is_none().then_some(known.uid),
            resource_version: version.is_none().then_some(known.resource_version),
            recorded: known.recorded.filter(|_| !as_recorded),
            prune: known.prune,
            run: known.run,
        };
        Self {
            uid: uid.unwrap_or_default(),
            resource_version: version.unwrap_or_default(),
            digest: known.digest,
            fields: known.fields,
            bundle: known.bundle,
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
            as_recorded,
            adopted: known.adopted,
            deleting: known.deleting,
            labelled: known.labelled,
            superseded: known.superseded,
        }
    }
}

impl From<Known> for Box<Member> {
    fn from(known: Known) -> Self {
        Self::new(known.into())
    }
}

/// The bytes of a UUID; none for a text that is not written as [`uuid_text`] writes them.
fn uuid(text: &str) -> Option<Uuid> {
    let mut uuid = [0; 16];
    let mut digits = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        let place = uuid.get_mut(digits / 2)?;
        *place = *place << 4 | digit;
        digits += 1;
    }
    (digits == 32).then_some(uuid)
}

fn uuid_text(uuid: &Uuid) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

/// The number; none for a text that is not written as numbers are.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uids() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<[u8; 16]>().prop_map(|bytes| uuid_text(&bytes)),
            "[0-9a-fA-F]{0,9}(-[0-9a-fA-F]{3,5}){0,3}(-[0-9a-fA-F]{11,13})?",
            ".{0,40}",
        ]
    }

    prop_compose! {
        fn knowns()(
            uid in uids(),
            other in uids(),
            resource_version in prop_oneof!["[0-9]{0,21}", any::<u64>().prop_map(|n| n.to_string()), ".{0,5}"],
            digests in prop::array::uniform4(prop::option::of(0..2_u8)),
            recorded in prop::option::of(any::<bool>()),
            words in prop::array::uniform2(prop::option::of("[a-z]{0,5}")),
            flags in prop::array::uniform4(any::<bool>()),
        ) -> Known {
            let [digest, fields, run, left] = digests.map(|digest| digest.map(|n| Digest::of(&[n])));
            let live = |same: bool| Live {
                uid: if same { uid.clone() } else { other },
                digest: digest.filter(|_| same).or(left).unwrap_or(Digest([0; 32])),
                fields: fields.filter(|_| same).or(left).unwrap_or(Digest([0; 32])),
            };
            let recorded = recorded.map(live);
            let [bundle, prune] = words;
            let [adopted, deleting, labelled, superseded] = flags;
            let bundle = bundle.map(Arc::from);
            Known { uid, resource_version, digest, fields, recorded, bundle, adopted, prune, run, deleting, labelled, superseded }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_packing(known in knowns(), other in uids()) {
            let member = Member::from(known.clone());
            prop_assert_eq!(member.known(), known.clone());
            prop_assert_eq!(member.uid(), known.uid.clone());
            prop_assert_eq!(member.resource_version(), known.resource_version.clone());
            prop_assert!(member.has_uid(&known.uid));
            prop_assert_eq!(member.has_uid(&other), other == known.uid);
            let record = match member.record() {
                Record::None => None,
                Record::AsSeen => known.digest.zip(known.fields).map(|(digest, fields)| Live { uid: known.uid.clone(), digest, fields }),
                Record::Other(live) => Some(live.clone()),
            };
            prop_assert_eq!(record, known.recorded);
        }
    }

    #[test]
    fn a_member_is_small() {
        // What it may take of the 200 bytes for an object that clusters share (docs/PERFORMANCE.md).
        assert!(size_of::<Member>() <= 120, "{}", size_of::<Member>());
        let usual =
            Known { uid: "0b3a7c52-95d6-4a0e-8d2b-6a5f43b1c0de".to_owned(), resource_version: "4711".to_owned(), ..Known::default() };
        assert!(Member::from(usual).rest.is_none());
    }
}
