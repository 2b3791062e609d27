//! What stands on the parent after an attempt.

use super::{Attempt, Memory, Outcome, outcome::complete};
use crate::{
    cluster::ApiError,
    crash,
    sync::{
        agenda::End,
        course::Courses,
        member::Inventory,
        observe::Unseen,
        parent::{Parent, ParentStore},
        staged::Turn,
    },
};

impl<M: Memory> Attempt<'_, M> {
    /// There is nothing to send. All is done, or bundles wait.
    pub(super) async fn rest(
        &self,
        store: &ParentStore<'_>,
        parent: &Parent,
        inventory: &Inventory,
        turn: Turn,
        unseen: &Unseen,
    ) -> Result<Outcome, ApiError> {
        let end = turn.end();
        self.put_down(store, parent, (inventory, unseen), &turn, end).await?;
        let ended = if end == End::Synced { complete(unseen) } else { Outcome::new(end, None) };
        let drifted = turn.plan.left;
        Ok(Outcome { drifted, staged: turn.into_staged(), ..ended })
    }

    /// Puts on the parent what now runs, or how far bundles with an order came.
    pub(super) async fn put_down(
        &self,
        store: &ParentStore<'_>,
        parent: &Parent,
        members: (&Inventory, &Unseen),
        turn: &Turn,
        end: End,
    ) -> Result<(), ApiError> {
        // What drifted and is as it was changes nothing about the set.
        let same = parent.rendering == Some(self.rendering.digest) && parent.key.as_ref() == Some(&self.settings.key);
        let same = same && turn.verdict.delete.is_empty();
        let courses = if end == End::Synced { turn.situation.finished() } else { turn.situation.courses.clone() };
        if end == End::Synced && (!same || courses != parent.courses) {
            self.finish_parent(store, members, &courses).await?;
        } else if courses != parent.courses {
            store.change(&self.settings.instance, |parent| parent.courses.clone_from(&courses)).await?;
        }
        Ok(())
    }

    /// Puts on the parent what now runs.
    async fn finish_parent(
        &self,
        store: &ParentStore<'_>,
        (inventory, unseen): (&Inventory, &Unseen),
        courses: &Courses,
    ) -> Result<(), ApiError> {
        crash::point("parent.finish");
        let (digest, commit) = (self.rendering.digest, self.desired.commit);
        store
            .change(&self.settings.instance, |parent| {
                parent.finish(digest, commit);
                parent.key = Some(self.settings.key.clone());
                self.desired.manager.clone_into(&mut parent.manager);
                parent.shrink(inventory.keys());
                // Of these there may be more than is on record.
                parent.kinds.extend(unseen.keys().cloned());
                parent.courses.clone_from(courses);
            })
            .await?;
        crash::point("parent.finished");
        Ok(())
    }
}
