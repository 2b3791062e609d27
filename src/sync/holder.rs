//! One agent writes a cluster. Who, is written on the parent and changed only under its resourceVersion.
//!
//! A second agent places a claim. A holder that lives removes the claim; one that is gone does not, and after
//! [`PATIENCE`] the claimant takes over. So nothing needs to be renewed while all is quiet, and no clocks are compared:
//! the claimant measures its own waiting.

use std::time::Duration;

use super::parent::{Holder, Parent};

/// How long a claim must stand unanswered. Six times the interval at which a holder looks, so that one slow answer of the
/// API server loses nothing.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often a holder looks at its parent.
pub const LOOK: Duration = Duration::from_secs(10);

/// How long a refused claimant keeps quiet before it claims again. A holder that dies right after an answer is replaced within this,
/// [`PATIENCE`] and three looks (that find the answer, and that either is over): two minutes. It costs a claim and an answer, two writes
/// of one small object, in 30 to 50 s for each cluster as long as both agents run; the lease of a single controller is written every 2 s.
pub const QUIET: Duration = Duration::from_secs(30);

/// How long after it last saw that it holds the cluster an agent may begin a write: [`PATIENCE`] less the time that a request
/// may take (`cluster::Limits`), so that nothing of it arrives once a claimant took over.
pub const FENCE: Duration = Duration::from_secs(30);

/// Whether an agent may begin a write so long after it last saw that it holds the cluster.
pub fn may_write(seen_for: Duration) -> bool {
    seen_for < FENCE
}

/// What an agent does about the hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is ours; nothing to write.
    Ours,
    /// Write this holder and no claim.
    Take(Holder),
    /// It is ours and someone claims it: write the parent without the claim.
    Answer,
    /// Someone else's: write our claim and wait.
    Claim,
    /// Someone else's, and our claim stands or was refused lately: wait.
    Wait,
}

/// What the claimant remembers between looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How long our claim has stood unanswered.
    pub claimed_for: Option<Duration>,
    /// How long ago our claim was answered.
    pub refused_for: Option<Duration>,
}

/// Measures an agent's own waiting for another holder. Time is since its task began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    claimed_at: Option<Duration>,
    refused_at: Option<Duration>,
}

impl Patience {
    /// What [`step`] goes by at this time.
    pub fn waiting(self, now: Duration) -> Waiting {
        let since = |at: Option<Duration>| at.map(|at| now.saturating_sub(at));
        Waiting { claimed_for: since(self.claimed_at), refused_for: since(self.refused_at) }
    }

    /// After an attempt. `claim` says whether our claim stands on a parent that another agent holds; none where no other
    /// agent was in the way.
    #[must_use]
    pub fn after(self, claim: Option<bool>, now: Duration) -> Self {
        match claim {
            None => Self::default(),
            Some(true) => Self { claimed_at: self.claimed_at.or(Some(now)), ..self },
            Some(false) if self.claimed_at.is_some() => Self { claimed_at: None, refused_at: Some(now) },
            Some(false) => self,
        }
    }
}

/// Decides from the parent as read. `me` is this agent's instance.
pub fn step(parent: &Parent, me: &str, waiting: Waiting) -> Step {
    let Some(holder) = &parent.holder else {
        return Step::Take(Holder { instance: me.to_owned(), epoch: 1 });
    };
    if holder.instance == me {
        return if parent.claim.is_some() { Step::Answer } else { Step::Ours };
    }
    let ours = parent.claim.as_deref() == Some(me);
    match (ours, waiting.claimed_for, waiting.refused_for) {
        (true, Some(waited), _) if waited >= PATIENCE => {
            Step::Take(Holder { instance: me.to_owned(), epoch: holder.epoch.saturating_add(1) })
        }
        // Our claim stands, or it was there and is not now: the holder lives. Or it was refused lately, or another claimant
        // was first and gets its turn.
        (true, _, _) | (false, Some(_), _) => Step::Wait,
        (false, None, Some(quiet)) if quiet < QUIET => Step::Wait,
        (false, None, _) if parent.claim.is_some() => Step::Wait,
        (false, None, _) => Step::Claim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(holder: Option<&str>, claim: Option<&str>) -> Parent {
        Parent {
            holder: holder.map(|instance| Holder { instance: instance.into(), epoch: 4 }),
            claim: claim.map(Into::into),
            ..Parent::default()
        }
    }

    fn waited(seconds: u64) -> Waiting {
        Waiting { claimed_for: Some(Duration::from_secs(seconds)), refused_for: None }
    }

    #[test]
    fn a_free_cluster_is_taken() {
        assert_eq!(step(&parent(None, None), "me", Waiting::default()), Step::Take(Holder { instance: "me".into(), epoch: 1 }));
    }

    #[test]
    fn the_holder_goes_on_and_answers_claims() {
        assert_eq!(step(&parent(Some("me"), None), "me", Waiting::default()), Step::Ours);
        assert_eq!(step(&parent(Some("me"), Some("other")), "me", Waiting::default()), Step::Answer);
    }

    #[test]
    fn a_claimant_waits_and_takes_over_only_from_a_silent_holder() {
        assert_eq!(step(&parent(Some("other"), None), "me", Waiting::default()), Step::Claim);
        assert_eq!(step(&parent(Some("other"), Some("me")), "me", waited(59)), Step::Wait);
        assert_eq!(step(&parent(Some("other"), Some("me")), "me", waited(60)), Step::Take(Holder { instance: "me".into(), epoch: 5 }));
        assert_eq!(step(&parent(Some("other"), None), "me", waited(61)), Step::Wait, "the claim was answered");
    }

    #[test]
    fn a_refused_claimant_keeps_quiet_for_a_while() {
        let refused = |seconds| Waiting { claimed_for: None, refused_for: Some(Duration::from_secs(seconds)) };
        assert_eq!(step(&parent(Some("other"), None), "me", refused(29)), Step::Wait);
        assert_eq!(step(&parent(Some("other"), None), "me", refused(30)), Step::Claim);
    }

    /// A claimant looks for ten minutes; a second after each claim a holder that lives answers. When the claims came, and the takeover.
    fn claims(dies: Duration) -> (Vec<Duration>, Option<Duration>) {
        let (mut parent, mut patience, mut now) = (parent(Some("other"), None), Patience::default(), Duration::ZERO);
        let mut claims = Vec::new();
        while now < Duration::from_mins(10) {
            match step(&parent, "me", patience.waiting(now)) {
                Step::Take(_) => return (claims, Some(now)),
                Step::Claim => {
                    parent.claim = Some("me".to_owned());
                    claims.push(now);
                }
                _ => {}
            }
            patience = patience.after(Some(parent.claim.is_some()), now);
            if now + Duration::from_secs(1) < dies {
                parent.claim = None;
            }
            now += LOOK;
        }
        (claims, None)
    }

    #[test]
    fn a_holder_that_dies_right_after_an_answer_is_replaced_within_two_minutes() {
        let (asked, taken) = claims(Duration::MAX);
        assert!(taken.is_none() && asked.len() <= 20, "twice a minute is often enough: {asked:?}");
        let dies = asked[3] + Duration::from_secs(2);
        let (_, taken) = claims(dies);
        assert!(taken.is_some_and(|taken| taken <= dies + Duration::from_mins(2)), "{taken:?} after {dies:?}");
    }

    #[test]
    fn a_claim_is_measured_from_its_first_look_and_its_answer_remembered() {
        let at = Duration::from_secs;
        let claimed = Patience::default().after(Some(true), at(10)).after(Some(true), at(30));
        assert_eq!(claimed.waiting(at(70)), waited(60));
        let refused = claimed.after(Some(false), at(80)).after(Some(false), at(90));
        assert_eq!(refused.waiting(at(200)), Waiting { claimed_for: None, refused_for: Some(at(120)) });
        assert_eq!(refused.after(None, at(200)), Patience::default());
    }

    #[test]
    fn a_holder_has_stopped_when_a_claimant_may_take_over() {
        assert!(may_write(LOOK * 2), "one look that fails stops nothing");
        assert!(!may_write(PATIENCE.saturating_sub(crate::cluster::Limits::default().request)));
    }

    #[test]
    fn of_two_claimants_the_first_is_served() {
        assert_eq!(step(&parent(Some("other"), Some("third")), "me", Waiting::default()), Step::Wait);
    }
}
