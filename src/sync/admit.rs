//! May this object be written? The server's dry run says so, and at first contact also whose it is.

use super::{
    Action, Journal,
    carry::{Carrier, Problem},
    contact::{LOOKS, changed_meanwhile},
    plan::{Why, Write},
    recreate,
};
use crate::{
    cluster::{Api, ApiError, Applied, Apply, ErrorKind},
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::{Body, ObjectId},
    render::RenderedObject,
};

/// How an object may be written.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// What writing it will have been.
    pub(super) action: Action,
    /// Fields that others own may be taken.
    pub(super) force: bool,
    /// There was no dry run: the write itself is the question.
    pub(super) untried: bool,
    /// The dry run was refused because the object must be created anew, which it allows.
    pub(super) recreate: bool,
    /// The resourceVersion of an object that was there before us and that was looked at.
    pub(super) seen: Option<String>,
}

impl Admission {
    /// Of the only object of a bundle, which needs no dry run unless it is to be found out whose it is.
    pub(super) fn of_one(why: Why) -> Option<Self> {
        let action = match why {
            Why::New => return None,
            Why::Changed | Why::Superseded => Action::Changed,
            Why::Drifted | Why::Unverified => Action::Repaired,
            Why::Unrecorded => Action::Kept,
        };
        Some(Self { action, force: true, untried: true, recreate: false, seen: None })
    }
}

impl<J: Journal> Carrier<'_, J> {
    /// Dry-runs one object.
    pub(super) async fn admit_one(&self, write: &Write) -> Result<Admission, Problem> {
        let object = &write.object;
        let api = self.api(object)?;
        if write.why == Why::Unrecorded {
            return Ok(Admission::unvalidated(write.why));
        }
        let body = match &object.given_up {
            Some(given_up) => self.trial(&api, object, given_up).await?,
            None => object.body.clone(),
        };
        let Some(admission) = Admission::of_one(write.why) else { return self.first_contact(&api, object, &body).await };
        match self.apply_as(&api, object, &body, Apply { manager: self.manager, force: true, dry_run: true }).await {
            Ok(_) => Ok(Admission { untried: false, ..admission }),
            Err(error) if recreate::is_wanted(object, &error) => Ok(Admission { untried: false, recreate: true, ..admission }),
            Err(error) if error.is_untriable() => Ok(self.untried(object, admission.action, true, &error)),
            Err(error) => Err(self.refusal(object, &error).await),
        }
    }

    /// An object that is not a member. Without force, so that the server names those who own fields of it; a claim of
    /// another fleet always shows, since the `part-of` label differs. Where it names nobody, the object is looked at.
    pub(super) async fn first_contact(&self, api: &Api, object: &RenderedObject, body: &Body) -> Result<Admission, Problem> {
        let how = Apply { manager: self.manager, force: false, dry_run: true };
        for _ in 0..LOOKS {
            let error = match self.apply_as(api, object, body, how).await {
                Ok(applied) if applied.created => {
                    return Ok(Admission { action: Action::Created, force: false, untried: false, recreate: false, seen: None });
                }
                Ok(_) => match self.meet(api, object, body).await? {
                    Some(admission) => return Ok(admission),
                    None => continue,
                },
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => error,
                Err(error) if error.is_untriable() => return self.untried_contact(api, object, &error).await,
                Err(error) => return Err(self.refusal(object, &error).await),
            };
            let untried = self.take_from(api, object, body, &error, true).await?.is_none();
            return Ok(Admission { action: Action::Adopted, force: true, untried, recreate: false, seen: None });
        }
        Err(changed_meanwhile(object))
    }

    /// Applies an object that others own fields of, or has the server try it, if it may be taken from them; `error` names them. None
    /// where the server cannot try it.
    pub(super) async fn take_from(
        &self,
        api: &Api,
        object: &RenderedObject,
        body: &Body,
        error: &ApiError,
        dry_run: bool,
    ) -> Result<Option<Applied>, Problem> {
        let id = &object.id;
        let live = match self.connection.get_meta(api, id.namespace.as_deref(), &id.name).await {
            Ok(live) => live,
            Err(error) => return Err(self.refusal(object, &error).await),
        };
        if self.is_of_another_fleet(live.as_ref()) {
            return Err(self.of_another_fleet(object, &managers(error), error.message()));
        }
        if !self.may_take(object) {
            return Err(Problem::Refused(owned_by_others(id, error)));
        }
        if !dry_run {
            self.take_over(api, object).await?;
        }
        match self.apply_as(api, object, body, Apply { manager: self.manager, force: true, dry_run }).await {
            Ok(applied) => {
                self.journal.warning(self.sync, id, &format!("taken over from {}: {}", managers(error), error.message()));
                Ok(Some(applied))
            }
            Err(error) if error.is_untriable() => {
                self.untried(object, Action::Adopted, true, &error);
                Ok(None)
            }
            Err(error) => Err(self.refusal(object, &error).await),
        }
    }

    /// The refusal of an object that another fleet has.
    pub(super) fn of_another_fleet(&self, object: &RenderedObject, managers: &str, words: &str) -> Problem {
        let message = format!("{managers} manages it already; this fleet is {}. {words}", self.manager);
        Problem::Refused(Diagnostic::new(codes::OTHER_FLEET, Place::Object(object.id.to_string()), message))
    }

    /// A dry run that did not pass: a decision of the server, or trouble on the way to it.
    pub(super) async fn refusal(&self, object: &RenderedObject, error: &ApiError) -> Problem {
        if self.stops(error).await {
            return Problem::Stop(self.stop_for(error));
        }
        let diagnostic = error.diagnostic(Place::Object(object.id.to_string()));
        if error.retryable() { Problem::Failed(diagnostic) } else { Problem::Refused(diagnostic) }
    }
}

/// The refusal of an object of which others own fields.
pub(super) fn owned_by_others(id: &ObjectId, error: &ApiError) -> Diagnostic {
    let message = format!("it exists and {} owns fields of it: {}", managers(error), error.message());
    Diagnostic::new(codes::CONFLICT, Place::Object(id.to_string()), message)
}

fn managers(error: &ApiError) -> String {
    error.managers_in_conflict().into_iter().collect::<Vec<_>>().join(", ")
}
