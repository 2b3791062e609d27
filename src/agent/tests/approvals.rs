//! What people approve, and that it is on record first.

use super::*;
use crate::ledger::answers::ActionEntry;

const APPROVED: &str = "spec: {rollout: {waves: [{name: first, selector: environment, requireApproval: true}]}}\n";

/// A wave over `a` and `b` that asks, and for which plan.
async fn asking() -> (Bed, Digest) {
    let mut bed = Bed::new();
    bed.take_up(&[("evenkeel.yaml", Some(&format!("{}{APPROVED}", own("Fleet", "shop"))))]).await;
    let plan = bed.ledger.rollout().await.unwrap().waves["first"].asks.as_ref().unwrap().plan;
    (bed, plan)
}

fn approve(plan: Digest) -> server::Action {
    server::Action::Approve { plan, who: "ada (uid 7)".to_owned() }
}

fn actions(bed: &Bed, cluster: &str) -> Vec<ActionEntry> {
    Ledger::reader(bed.folder.path()).unwrap().history(cluster, 10).unwrap().actions
}

#[tokio::test]
async fn the_approval_of_a_wave_is_on_record_for_each_of_its_clusters() {
    let (mut bed, plan) = asking().await;
    assert_eq!(bed.ask(approve(plan), server::Scope::Fleet).await.unwrap().clusters, ["a", "b"]);
    assert_eq!(told(&bed, "b"), (bed.tip(), None), "it is obeyed");
    let again = bed.ask(approve(plan), server::Scope::Fleet).await.unwrap_err();
    assert!(again.code.id == "EK5006" && again.message.starts_with(&format!("{plan} was approved by ada (uid 7) at 20")), "{again}");
    let of_wave = format!("{plan} (wave first with {})", bed.tip().short());
    for cluster in ["a", "b"] {
        let told: Vec<_> = actions(&bed, cluster)
            .into_iter()
            .filter(|it| it.outcome == "accepted")
            .map(|it| [it.who, it.what, it.target, it.outcome])
            .collect();
        assert_eq!(told, [["ada (uid 7)", "approve", &of_wave, "accepted"].map(str::to_owned)]);
    }
}

#[tokio::test]
async fn a_wave_that_cannot_be_put_on_record_is_not_approved() {
    let (mut bed, plan) = asking().await;
    bed.ledger.close().await.unwrap();
    assert!(bed.ask(approve(plan), server::Scope::Fleet).await.is_err());
    assert!(bed.supervisor.fleet.waves.progress().asks(plan), "it asks still");
}
