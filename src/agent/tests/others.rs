//! What is asked of clusters that another agent writes.

use super::{selectors::each, *};
use crate::server::{Action as Asked, Scope};

impl Bed {
    /// The cluster's task says that it waits, for that reason.
    async fn stands_by(&mut self, cluster: &str, code: codes::Code, message: &str) {
        let error = Some(Diagnostic::new(code, Place::Nowhere, message));
        self.tells(cluster, State { error, ..State::blank(Phase::Waiting) }).await;
    }

    async fn tells(&mut self, cluster: &str, state: State) {
        self.ledger.set_state(cluster, state.clone(), Timestamp::now()).await.unwrap();
        self.supervisor.heard(cluster, News::State(Box::new(state))).await;
    }

    /// What people did to a cluster or asked for, with what came of it, the newest first.
    fn actions(&self) -> Vec<String> {
        let file = rusqlite::Connection::open(self.folder.path().join("ledger.db")).unwrap();
        let mut rows = file.prepare("SELECT what || ': ' || outcome FROM actions ORDER BY id").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

#[tokio::test]
async fn what_another_agent_writes_is_asked_of_that_one() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    let holds = "the agent with instance 77 holds the cluster; unless it answers, this one takes over by itself, at 12:00 at the latest";
    bed.stands_by("a", codes::OTHER_HOLDER, holds).await;
    bed.stands_by("b", codes::WAVE, "its wave has yet to come").await;
    let accept = |name: &str| Asked::AcceptCluster { name: name.to_owned(), who: "ada (uid 7)".to_owned() };
    for action in [each("cluster=a").to_vec(), each("environment").to_vec(), vec![accept("a")]].concat() {
        let refused = bed.ask(action.clone(), Scope::Fleet).await.unwrap_err();
        assert_eq!(refused.code.id, "EK6021", "{action:?}");
        assert_eq!(refused.message, format!("nothing is done, since another agent writes a ({holds})"), "{action:?}");
        assert!(refused.hint.contains("takes over by itself: `evenkeel status` says when"), "{refused}");
    }
    assert_eq!(bed.ledger.holds(Timestamp::now()).await.unwrap(), [], "not even for the one that is this agent's");
    assert!(bed.supervisor.fleet.waves.progress().clusters.values().all(|cluster| cluster.pin.is_none()));
    let on_record = bed.actions();
    assert_eq!(on_record.len(), 11, "{on_record:?}");
    assert!(on_record.iter().all(|action| action.contains(": EK6021 nothing is done")), "{on_record:?}");
    let dev = Scope::Environments(["dev".to_owned()].into());
    assert_eq!(bed.ask(accept("a"), dev).await.unwrap_err().code.id, "EK6043", "whoever may not ask is told nothing of it");

    for action in each("cluster=b") {
        bed.ask(action, Scope::Fleet).await.unwrap();
    }
    bed.stands_by("a", codes::LOST_HOLD, "another agent took the hold").await;
    assert_eq!(bed.ask(accept("a"), Scope::Fleet).await.unwrap_err().code.id, "EK6021", "it was taken in the middle of a sync");
    bed.tells("a", State::blank(Phase::Synced)).await;
    for action in each("cluster=a") {
        bed.ask(action, Scope::Fleet).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_nobodys() {
    let mut bed = Bed::new();
    bed.take_up(&[]).await;
    bed.stands_by("a", codes::OTHER_HOLDER, "the agent with instance 77 holds the cluster").await;
    bed.take_up(&[(&entry("a"), None)]).await;
    let [action, ..] = each("environment");
    assert_eq!(bed.ask(action, Scope::Fleet).await.map(|accepted| accepted.commit), Ok(None));
}
