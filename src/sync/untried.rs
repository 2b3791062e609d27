//! Objects that the server cannot try: an admission webhook of the cluster takes no dry runs, or the object's managedFields name a
//! version that is no longer served. The write itself is the question then, and it is asked before the rest of the bundle.

use std::{collections::BTreeSet, sync::Arc};

use tracing::warn;

use super::{
    Action, Journal,
    admit::Admission,
    carry::{Carrier, Problem},
    plan::Write,
};
use crate::{
    cluster::{Api, ApiError, Meta},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::PART_OF,
    render::RenderedObject,
};

impl<J: Journal> Carrier<'_, J> {
    /// Lets an object be written that was not tried, and says so.
    pub(super) fn untried(&self, object: &RenderedObject, action: Action, force: bool, error: &ApiError) -> Admission {
        let text = format!("written without a dry run, which the server cannot do: {}", error.message());
        self.journal.warning(self.sync, &object.id, &text);
        warn!(bundle = &*object.bundle, object = %object.id, "{text}");
        Admission { action, force, untried: true, recreate: false, seen: None }
    }

    /// The first contact with such an object. Without force, where it may not be taken over: the write names the others then, and
    /// changes nothing.
    pub(super) async fn untried_contact(&self, api: &Api, object: &RenderedObject, error: &ApiError) -> Result<Admission, Problem> {
        let live = match self.connection.get_meta(api, object.id.namespace.as_deref(), &object.id.name).await {
            Ok(live) => live,
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        if self.is_of_another_fleet(live.as_ref()) {
            return Err(self.of_another_fleet(object, &live.map(|live| manager_names(&live)).unwrap_or_default(), error.message()));
        }
        let may_be_taken = self.adopt || object.policy.adopt;
        match live {
            None => Ok(self.untried(object, Action::Created, false, error)),
            // What was written as its `stringData` would be overwritten without a conflict, and no dry run says so.
            Some(live) if object.id.is("", "Secret") && !may_be_taken && !self.has_all_of(&live) => {
                let message = format!(
                    "it exists, {} have it, and the server cannot try what an apply would change of it: {}",
                    manager_names(&live),
                    error.message()
                );
                Err(Problem::Refused(Diagnostic::new(codes::CONFLICT, Place::Object(object.id.to_string()), message)))
            }
            Some(_) => Ok(self.untried(object, Action::Adopted, may_be_taken, error)),
        }
    }

    /// Whether nobody else is on record for anything of it.
    fn has_all_of(&self, live: &Meta) -> bool {
        !live.managers.is_empty() && live.managers.iter().all(|entry| entry.name == self.manager)
    }

    /// Whether a live object carries the claim of another fleet.
    pub(super) fn is_of_another_fleet(&self, live: Option<&Meta>) -> bool {
        live.and_then(|live| live.labels.get(PART_OF)).is_some_and(|owner| *owner != self.parent.set().id())
    }
}

/// All managers of an object, each once.
pub(super) fn manager_names(live: &Meta) -> String {
    let names: BTreeSet<&str> = live.managers.iter().map(|entry| entry.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What to do about a refusal that came after other objects of the bundle were written.
pub(super) const PARTLY_WRITTEN: &str = "Other objects of the bundle were written: the server cannot try them beforehand, as the warnings \
     on record say. Change the manifest or the policy named by the server; it is tried again slowly.";

/// One object to write, of which bundle and how.
pub(super) type Waiting<'p> = (Arc<str>, &'p Write, Admission);

/// Parts what must be written first: what was not tried, of bundles whose other objects were. If it is refused, nothing else of
/// its bundle is written.
pub(super) fn first_the_untried(waiting: Vec<Waiting<'_>>) -> (Vec<Waiting<'_>>, Vec<Waiting<'_>>) {
    let tried: BTreeSet<Arc<str>> =
        waiting.iter().filter(|(_, _, admission)| !admission.untried).map(|(bundle, ..)| bundle.clone()).collect();
    waiting.into_iter().partition(|(bundle, _, admission)| admission.untried && tried.contains(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::plan::{Why, tests::rendering};

    #[test]
    fn what_was_not_tried_goes_first_where_the_rest_of_its_bundle_was() {
        let rendering = rendering(&[("mixed", "one"), ("mixed", "two"), ("single", "three")], "1");
        let writes: Vec<Write> = rendering.objects.iter().map(|object| Write { object: object.clone(), why: Why::New }).collect();
        let of = |name: &str, untried: bool| -> Vec<Waiting<'_>> {
            let found = writes.iter().filter(|write| write.object.id.name == name);
            let admission = Admission { action: Action::Created, force: false, untried, recreate: false, seen: None };
            found.map(|write| (write.object.bundle.clone(), write, admission.clone())).collect()
        };
        let (first, rest) = first_the_untried([of("one", false), of("two", true), of("three", true)].concat());
        let names = |waiting: &[Waiting<'_>]| waiting.iter().map(|(_, write, _)| write.object.id.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&first), names(&rest)), (vec!["two".to_owned()], vec!["one".to_owned(), "three".to_owned()]));
    }
}
