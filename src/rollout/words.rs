//! How a wave stands, in the words of people.

use std::fmt::Write as _;

use super::{
    gate::State,
    shown::{WaveWord, moment},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, ErrorAnswer, Place},
    listed,
};

impl State {
    /// In a word.
    pub(super) fn word(&self) -> WaveWord {
        match self {
            Self::Waiting => WaveWord::Waiting,
            Self::Halted(..) | Self::Denied(_) => WaveWord::Halted,
            Self::Approval(_) => WaveWord::Approval,
            Self::Closed(_) => WaveWord::Closed,
            Self::Admits(_)
            | Self::Doubted(_)
            | Self::Unavailable(_)
            | Self::Rolling(_)
            | Self::Silent(_)
            | Self::Unready(_)
            | Self::Refused(_) => WaveWord::Rolling,
            Self::Soaking(_) => WaveWord::Soaking,
            Self::Unproved => WaveWord::Unproved,
            Self::Complete => WaveWord::Complete,
        }
    }

    /// What it waits for, as the end of a sentence that begins with the wave.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Waiting => "waits for the wave before it".to_owned(),
            Self::Halted(cluster, cause) => format!("has halted: {cluster}: {}: {}", cause.code, cause.message),
            Self::Denied(cluster) => format!("has halted: what the commit gives for {cluster} is refused"),
            Self::Doubted(names) => format!("waits until {} healthy with the commit: nobody in an earlier wave is", are(names)),
            Self::Approval(asks) => format!("waits for approval of {}", asks.plan),
            Self::Closed(closed) => match closed.opens {
                Some(opens) => format!("is {} until {}", closed.why, moment(opens)),
                None => format!("is {} for good", closed.why),
            },
            Self::Unavailable(names) => format!("waits for clusters that are not healthy: {}", some(names)),
            Self::Admits(names) | Self::Rolling(names) => format!("is in progress on {}", some(names)),
            Self::Silent(names) => format!("waits for {}, out of reach since the commit came, maybe because of it", some(names)),
            Self::Unready(names) => format!("waits until {} healthy", are(names)),
            Self::Refused(names) => format!("waits for {}, for which the newest commit is refused", some(names)),
            Self::Soaking(until) => format!("soaks until {}", moment(*until)),
            Self::Unproved => "has proved nothing, since none of its clusters that count runs the target".to_owned(),
            Self::Complete => String::new(),
        }
    }

    /// Clusters are on their way to the target, or prove it.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Rolling(_) | Self::Unready(_) | Self::Soaking(_))
    }

    /// What a person can do. `others` says whether the waves of the clusters named have others, without which a wave proves nothing, and
    /// `runs` whether the first of them runs the target.
    pub(super) fn way_out(&self, others: bool, runs: bool) -> String {
        match self {
            Self::Halted(cluster, _) => {
                let mut way_out =
                    format!("Push a commit that mends it. Once the cause is gone: `evenkeel retry cluster={cluster}`.");
                if runs {
                    let _ = write!(
                        way_out,
                        " To put the cluster back until then: `evenkeel rollback cluster={cluster} REV`; the waves stay halted."
                    );
                }
                if others {
                    way_out.push_str(" If the trouble is none of the commit's: `spec.paused` in its cluster.yaml has the waves go on without it.");
                }
                way_out
            }
            Self::Approval(asks) => format!("`evenkeel approve {}`", asks.plan),
            Self::Closed(_) => "If it cannot wait, change the windows or freezes of spec.rollout in evenkeel.yaml.".to_owned(),
            Self::Unavailable(_) => {
                "Mend the clusters named, pause them to have them passed over, or raise maxUnavailable of the wave.".to_owned()
            }
            Self::Silent(_) if others => {
                "Look at the clusters named. If it is none of the commit's doing, `spec.paused` in their cluster.yaml has the waves go on without them; else push a commit that mends it.".to_owned()
            }
            Self::Silent(_) => "Look at the clusters named, or push a commit that mends it.".to_owned(),
            Self::Refused(_) | Self::Denied(_) => "Mend what `evenkeel check` shows.".to_owned(),
            Self::Unproved => "Bring one of the clusters back, or take the wave out of spec.rollout in evenkeel.yaml.".to_owned(),
            Self::Doubted(names) => {
                let first = names.first().map_or("", String::as_str);
                format!(
                    "It goes on when one of them does well: `evenkeel why {first}`. Release or retry what people keep from the commit; `spec.paused` in their cluster.yaml has the waves go on without them."
                )
            }
            _ => String::new(),
        }
    }
}

pub(super) fn refused(cluster: &str) -> ErrorAnswer {
    let message = format!("what the commit gives for {cluster} is refused");
    ErrorAnswer::from(&Diagnostic::new(codes::HALTED, Place::Nowhere, message).with_hint("See `evenkeel check`."))
}

/// What can be done about clusters that neither do well nor fail in time.
pub(super) fn overdue(first: &str, late: &[String], others: bool) -> String {
    let it = if late.len() == 1 { "it" } else { "each of them" };
    let pause = if others {
        format!(" If it is none of the commit's doing, `spec.paused` has the waves go on without {it}.")
    } else {
        String::new()
    };
    format!("{} late: `evenkeel why {first}` says what it waits for. Mend that, or push a newer commit.{pause}", are(late))
}

fn are(names: &[String]) -> String {
    if let [name] = names { format!("{name} is") } else { format!("{} are", some(names)) }
}

/// Clusters that a sentence names. More are told by their number; `status` shows which they are.
const NAMED_MAX: usize = 5;

fn some(names: &[String]) -> String {
    listed::first(names, NAMED_MAX)
}
