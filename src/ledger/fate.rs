//! What became of a commit on a cluster, derived from the time line and the cluster's renderings.
//!
//! The time line is the list of tips that the branch had; a commit stands on it where it was the tip, or else where it
//! arrived beneath a tip. For each cluster there is one row per change of its rendering, which holds from one tip until
//! another. From these the fate of every commit follows; nothing is stored per commit and cluster.
//!
//! A tip *affects* a cluster where it brought another rendering, and always where it is refused: nobody can say what a
//! refused commit would have changed. A tip's *chapter* goes on until the next tip that affects the cluster; the commit
//! is reached if the cluster ran a rendering of its chapter.

use jiff::Timestamp;

use crate::{git::CommitId, manifest::Digest};

/// A place on the time line; they grow.
pub(super) type Place = i64;

/// One tip of the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) place: Place,
    pub(super) commit: CommitId,
    pub(super) at: Timestamp,
    /// It was rendered before a newer one came.
    pub(super) rendered: bool,
}

/// A part of the time line, in order.
#[derive(Debug, Default)]
pub(super) struct Tips(pub(super) Vec<Tip>);

impl Tips {
    fn get(&self, place: Place) -> Option<&Tip> {
        self.0.binary_search_by_key(&place, |tip| tip.place).ok().map(|at| &self.0[at])
    }

    fn from(&self, place: Place) -> &[Tip] {
        &self.0[self.0.partition_point(|tip| tip.place < place)..]
    }

    /// The first rendered tip at or after this place.
    fn next_rendered(&self, place: Place) -> Option<Place> {
        self.from(place).iter().find(|tip| tip.rendered).map(|tip| tip.place)
    }
}

/// What a cluster had to run, from one tip until another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) from: Place,
    pub(super) until: Place,
    pub(super) kind: Kind,
    /// The tip brought it; otherwise the cluster's facts changed while the tip stood still.
    pub(super) by_commit: bool,
    /// When the cluster first ran it.
    pub(super) reached: Option<Timestamp>,
}

impl Row {
    fn covers(&self, place: Place) -> bool {
        self.from <= place && place <= self.until
    }

    fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused(_))
    }

    fn digest(&self) -> Option<Digest> {
        if let Kind::Rendered(digest) = self.kind { Some(digest) } else { None }
    }
}

/// What a rendering came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Rendered(Digest),
    /// With the first reason.
    Refused(String),
    /// The cluster is not in the repository.
    Absent,
}

/// Where a commit stands on the time line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Where it was last the tip, or where it arrived.
    pub(super) place: Place,
    /// Every place where it was the tip; empty for a commit that arrived beneath one.
    pub(super) tips: Vec<Place>,
}

impl Standing {
    /// Where it first stood.
    pub(super) fn first(&self) -> Place {
        self.tips.first().copied().unwrap_or(self.place)
    }
}

/// What became of a commit on a cluster, apart from the cluster's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Seen and not rendered.
    Pending,
    /// It changed nothing here.
    NotAffected,
    /// What the cluster must run is this commit's doing since that place.
    Current {
        /// Where its chapter begins.
        since: Place,
        /// It took the cluster out of the repository.
        removed: bool,
    },
    /// Reached, and replaced later.
    Applied(Option<Timestamp>),
    /// Not reached: another came first.
    Superseded {
        /// The other.
        by: Option<CommitId>,
        /// When that was seen.
        at: Option<Timestamp>,
        /// Why it was not reached, where it was refused.
        refused: String,
        /// What it gave while it was the cluster's due; a wave may still bring that.
        gave: Vec<Digest>,
    },
}

/// Derives the fate. `rows` are those of one cluster in order, from the one that the last tip at or before the standing
/// brought on, at least as far as the next that a tip brought after it; `tips` from where the commit first stood on.
pub(super) fn fate(rows: &[Row], tips: &Tips, standing: &Standing) -> Fate {
    let place = standing.place;
    let Some(last) = rows.iter().rfind(|row| row.covers(place)) else { return unrendered(rows, tips, place) };
    if affects(rows, tips, last, place) {
        return if standing.tips.is_empty() { superseded(tips, place, "", Vec::new()) } else { chapter(rows, tips, last, place) };
    }
    if last.is_refused() {
        // Never rendered, amid others that were refused.
        let next = next_affecting(rows, tips, place).filter(|next| last.covers(*next));
        return next.map_or(Fate::NotAffected, |next| superseded(tips, next, "", Vec::new()));
    }
    // A tip that came back while the cluster still had to run what it once brought.
    let brought = standing.tips.iter().rfind(|tip| {
        let there = rows.iter().rfind(|row| row.covers(**tip));
        let is_open = || next_affecting(rows, tips, **tip).is_none_or(|next| next > place);
        there.is_some_and(|there| affects(rows, tips, there, **tip)) && is_open()
    });
    brought.map_or(Fate::NotAffected, |begin| chapter(rows, tips, last, *begin))
}

fn affects(rows: &[Row], tips: &Tips, last: &Row, place: Place) -> bool {
    let brought = rows.iter().any(|row| row.by_commit && row.from == place);
    brought || (last.is_refused() && tips.get(place).is_some_and(|tip| tip.rendered))
}

/// No row covers the place: it was passed over, the cluster came later, or it is the newest.
fn unrendered(rows: &[Row], tips: &Tips, place: Place) -> Fate {
    let Some(next) = rows.iter().find(|row| row.from > place) else { return Fate::Pending };
    let was_there = rows.iter().any(|row| row.until < place);
    let others_rendered = tips.next_rendered(place).is_some_and(|rendered| rendered < next.from);
    if !was_there && others_rendered { Fate::NotAffected } else { superseded(tips, next.from, "", Vec::new()) }
}

fn chapter(rows: &[Row], tips: &Tips, last: &Row, begin: Place) -> Fate {
    let Some(end) = next_affecting(rows, tips, begin) else {
        return Fate::Current { since: begin, removed: rows.last().is_some_and(|row| row.kind == Kind::Absent) };
    };
    let rows = || rows.iter().filter(|row| row.from >= begin && row.from < end);
    match (rows().find_map(|row| row.reached), &last.kind) {
        (Some(at), _) => Fate::Applied(Some(at)),
        // There is nothing to carry out when a cluster leaves.
        (None, Kind::Absent) => Fate::Applied(None),
        (None, Kind::Refused(why)) => superseded(tips, end, why, Vec::new()),
        (None, Kind::Rendered(_)) => superseded(tips, end, "", rows().filter_map(Row::digest).collect()),
    }
}

fn next_affecting(rows: &[Row], tips: &Tips, after: Place) -> Option<Place> {
    let brought = rows.iter().find(|row| row.by_commit && row.from > after).map(|row| row.from);
    let refused = rows.iter().enumerate().filter(|(_, row)| row.is_refused() && row.until > after).find_map(|(at, row)| {
        let place = tips.next_rendered(row.from.max(after + 1))?;
        let was_mended = rows.get(at + 1).is_some_and(|next| next.from == place);
        (row.covers(place) && !was_mended).then_some(place)
    });
    [brought, refused].into_iter().flatten().min()
}

fn superseded(tips: &Tips, by: Place, refused: &str, gave: Vec<Digest>) -> Fate {
    let tip = tips.get(by);
    Fate::Superseded { by: tip.map(|tip| tip.commit), at: tip.map(|tip| tip.at), refused: refused.to_owned(), gave }
}
