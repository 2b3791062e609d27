//! `evenkeel status`: where every cluster stands.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use clap::Args;
use jiff::Timestamp;

use super::{
    OutputArg, StateDirArg, World, ask,
    error::{CommandError, Exit},
    printer::Printer,
    settings_file::SettingsFile,
    table::{self, Cell, Color, Table, age, clean, short_or_dash},
    waves,
};
use crate::{
    codes,
    ledger::answers::{ClusterStatus, Repository, Rewritten, Status, Trouble},
    listed,
    manifest::{Digest, mask_urls},
    server::SourceState,
    sync::{Health, Retry},
};

/// Clusters that left the repository and are named.
const LEFT_NAMED_MAX: usize = 5;

/// Show where every cluster stands
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    state_dir: StateDirArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: StatusArgs, file: &SettingsFile, world: &World<'_>, printer: &mut Printer<'_>) -> Result<Exit, CommandError> {
    let output = args.output.resolve(file);
    let asked = ask::open(world, &args.state_dir.resolve(file), printer)?;
    let status = asked.answers.status()?;
    let color = printer.color;
    printer.answer(output, &status, |status| render(status, asked.source.as_ref(), world.now, color))?;
    Ok(Exit::Done)
}

/// The table after a run with `--once`, of these clusters.
pub(super) fn report(state_dir: &Path, clusters: &[String], world: &World<'_>, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    let status = part((world.ledger)(state_dir)?.status()?, clusters);
    printer.data(&render(&status, None, world.now, printer.color))
}

/// The same of some clusters, with what is wrong with them.
pub(super) fn part(mut status: Status, clusters: &[String]) -> Status {
    status.clusters.retain(|cluster| clusters.contains(&cluster.name));
    status
}

pub(super) fn render(status: &Status, source: Option<&SourceState>, now: Timestamp, color: bool) -> String {
    let mut text = headline(status);
    text.push_str(&left(status));
    text.push_str(&observed(status));
    text.push_str(&repository(&status.repository, source, now));
    text.push_str(&unheard(status));
    if status.clusters.is_empty() {
        return text;
    }
    text.push('\n');
    text.push_str(&clusters(&status.clusters, now).render(color));
    text.push_str(&table::errors(status.clusters.iter().filter_map(|cluster| Some((cluster.name.clone(), cluster.error.as_ref()?)))));
    if let Some(plan) = status.held_plan {
        let _ =
            writeln!(text, "\nDeletions are held on several clusters; to release exactly these of all of them: evenkeel approve {plan}");
    }
    for cluster in &status.clusters {
        if let Some(Retry { at, failures }) = cluster.retry {
            let due = if at > now { format!("in {}", age(at, now)) } else { "now".to_owned() };
            let tries = if failures == 1 { "1 try".to_owned() } else { format!("{failures} tries") };
            let _ = writeln!(text, "\n{}: {tries} failed; the next is due {due}", clean(&cluster.name));
        }
        // What is only observed says so as its error, unless there is a worse one.
        if let Some(would) = cluster.would.as_ref().filter(|would| !would.is_nothing())
            && cluster.error.as_ref().is_none_or(|error| error.code != codes::OBSERVED.id)
        {
            let _ = writeln!(text, "\n{}: only observed; a sync would {}", clean(&cluster.name), clean(&would.words()));
        }
        let said = |plan: &Digest| cluster.error.as_ref().is_some_and(|error| error.hint.contains(&plan.to_string()));
        if let (count @ 1.., Some(plan)) = (cluster.held_deletions, cluster.held_plan.filter(|plan| !said(plan))) {
            let held = if count == 1 { "1 deletion is held".to_owned() } else { format!("{count} deletions are held") };
            let _ = writeln!(text, "\n{}: {held}; to release exactly {}: evenkeel approve {plan}", clean(&cluster.name), these(count));
        }
    }
    text + &waves::render(status, color)
}

/// `Head 3f2a91c, 4 clusters: 1 Refused, 3 Synced; 1 at an older commit, 1 Degraded; wave canary Halted`, the worst phase first. Whoever
/// reads no further knows whether all of the fleet runs the head, and does well.
fn headline(status: &Status) -> String {
    let head = status.commit.map_or_else(|| "No commit yet".to_owned(), |commit| format!("Head {}", commit.short()));
    let mut phases = BTreeMap::new();
    for cluster in &status.clusters {
        *phases.entry(cluster.phase).or_insert(0_u32) += 1;
    }
    let phases: Vec<String> = phases.iter().map(|(phase, count)| format!("{count} {phase:?}")).collect();
    let clusters = match status.clusters.len() {
        0 => "no clusters".to_owned(),
        1 => format!("1 cluster: {}", phases.join(", ")),
        count => format!("{count} clusters: {}", phases.join(", ")),
    };
    let of_health = |health| (status.of_health(health), format!("{health:?}"));
    let off = [(status.behind(), "at an older commit".to_owned()), of_health(Health::Degraded), of_health(Health::Progressing)];
    let off: Vec<String> = off.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    let off = if off.is_empty() { String::new() } else { format!("; {}", off.join(", ")) };
    let halted = status.halted().fold(String::new(), |text, wave| format!("{text}; wave {} Halted", clean(wave)));
    format!("{head}, {clusters}{off}{halted}\n")
}

fn these(count: u64) -> &'static str {
    if count == 1 { "this" } else { "these" }
}

/// Clusters that left the repository with the newest commit, or that all have: what is shown of each is no trouble of its own, so that
/// nothing else would say so.
fn left(status: &Status) -> String {
    let all: Vec<&ClusterStatus> = status.clusters.iter().filter(|cluster| cluster.left.is_some()).collect();
    let newest = || all.iter().filter(|cluster| cluster.left == status.commit).copied().collect();
    let told: Vec<&ClusterStatus> = if all.len() == status.clusters.len() { all.clone() } else { newest() };
    let [first, ..] = told[..] else { return String::new() };
    let with = first.left.filter(|left| told.iter().all(|cluster| cluster.left == Some(*left)));
    let with = with.map(|commit| format!(" with {}", commit.short())).unwrap_or_default();
    let names: Vec<&str> = told.iter().map(|cluster| cluster.name.as_str()).collect();
    let names = clean(&listed::first(&names, LEFT_NAMED_MAX));
    let (who, them, what) = match told.len() {
        1 => ("1 cluster".to_owned(), ["its", "it"], "cluster.yaml"),
        count if count == status.clusters.len() => (format!("All {count} clusters"), ["their", "them"], "cluster.yaml files"),
        count => (format!("{count} clusters"), ["their", "them"], "cluster.yaml files"),
    };
    format!(
        "{who} left the repository{with}: {names}\n  hint: If that was not meant, put {} {what} back, or take what ignores {} out of .evenkeelignore. `evenkeel why {}` says more.\n",
        them[0],
        them[1],
        clean(&first.name)
    )
}

/// One line where clusters are only observed.
fn observed(status: &Status) -> String {
    match status.clusters.iter().filter(|cluster| cluster.would.is_some()).count() {
        0 => String::new(),
        1 => "1 cluster is only observed: nothing is written to it\n".to_owned(),
        count => format!("{count} clusters are only observed: nothing is written to them\n"),
    }
}

/// What people asked for while no agent ran, each thing once with its clusters: what is shown of them is from before.
fn unheard(status: &Status) -> String {
    let mut asked: Vec<(&str, Vec<&str>)> = Vec::new();
    for (cluster, text) in status.clusters.iter().flat_map(|cluster| cluster.unheard.iter().map(move |text| (&cluster.name, text))) {
        match asked.iter_mut().find(|(known, _)| known == text) {
            Some((_, clusters)) => clusters.push(cluster),
            None => asked.push((text, vec![cluster])),
        }
    }
    let lines = asked.iter().map(|(text, clusters)| format!("  {}: {}\n", clean(&clusters.join(", ")), clean(text)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("Recorded while no agent ran, and done when one starts:\n{lines}") }
}

/// What is to be known of the branch: as a running agent knows it, otherwise as it was put on record.
fn repository(repository: &Repository, source: Option<&SourceState>, now: Timestamp) -> String {
    let mut text = match (source, &repository.trouble) {
        (Some(source), _) => source_trouble(source, now),
        (None, Some(Trouble { since, error })) => {
            let message = clean(&mask_urls(&error.message));
            format!("The branch, for {}: error[{}]: {message}\n  hint: {}\n", age(now, *since), clean(&error.code), clean(&error.hint))
        }
        (None, None) => String::new(),
    };
    if let Some(Rewritten { at, was: Some(was) }) = &repository.rewritten {
        let _ = writeln!(
            text,
            "The branch was rewritten {} ago (a force-push); its tip was {was}\n  hint: If that was not meant, push that commit to the branch again.",
            age(now, *at)
        );
    }
    text
}

/// One line and a hint where the repository cannot be followed; nothing where all is well.
fn source_trouble(source: &SourceState, now: Timestamp) -> String {
    let Some(error) = &source.error else { return String::new() };
    let fetched = source.last_fetch.map_or_else(|| "never fetched yet".to_owned(), |then| format!("last fetched {} ago", age(now, then)));
    let place = clean(&mask_urls(&format!("{} of {}", source.branch, source.remote)));
    let message = clean(&mask_urls(&error.message));
    format!("{place}, {fetched}: error[{}]: {message}\n  hint: {}\n", clean(&error.code), clean(&error.hint))
}

fn clusters(clusters: &[ClusterStatus], now: Timestamp) -> Table {
    let mut table = Table::new(["CLUSTER", "ENVIRONMENT", "REGION", "PHASE", "HEALTH", "DESIRED", "APPLIED", "OBJECTS", "SINCE", "ERROR"]);
    let mut environment = None;
    for cluster in clusters {
        if environment.replace(&cluster.environment).is_some_and(|before| *before != cluster.environment) {
            table.gap();
        }
        let objects = match cluster.drifted {
            0 => cluster.objects.to_string(),
            drifted => format!("{} ({drifted} drifted)", cluster.objects),
        };
        table.row(vec![
            Cell::from(&cluster.name),
            Cell::from(&cluster.environment),
            Cell::from(&cluster.region),
            table::phase(cluster.phase),
            health(cluster.health),
            short_or_dash(cluster.desired).into(),
            short_or_dash(cluster.applied).into(),
            objects.into(),
            age(now, cluster.since).into(),
            cluster.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default().into(),
        ]);
    }
    table
}

fn health(health: Health) -> Cell {
    let color = match health {
        Health::Healthy => Color::Good,
        Health::Progressing => Color::Moving,
        Health::Degraded => Color::Bad,
        Health::Suspended => Color::Attention,
        Health::Unknown => Color::Plain,
    };
    Cell::colored(color, format!("{health:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        git::CommitId,
        ledger::answers::SCHEMA,
        rollout::{Shown, ShownWave, WaveWord},
        sync::Phase,
    };

    const HEAD: CommitId = CommitId([0x63; 20]);
    const OLDER: CommitId = CommitId([0x08; 20]);

    fn cluster(applied: CommitId, health: Health, reason: &str) -> ClusterStatus {
        ClusterStatus {
            environment: "prod".to_owned(),
            region: "eu".to_owned(),
            desired: Some(applied),
            applied: Some(applied),
            health,
            objects: 1,
            reason: reason.to_owned(),
            ..ClusterStatus::blank("a", Phase::Synced, Timestamp::UNIX_EPOCH)
        }
    }

    fn status(clusters: Vec<ClusterStatus>) -> Status {
        Status { schema: SCHEMA, commit: Some(HEAD), held_plan: None, clusters, rollout: None, repository: Repository::default() }
    }

    fn wave(name: &str, state: WaveWord) -> ShownWave {
        ShownWave { target: Some(HEAD), ..ShownWave::blank(name, state) }
    }

    #[test]
    fn one_deletion_is_one() {
        let held = |held_deletions| {
            let held = ClusterStatus { held_deletions, held_plan: Some(Digest([0xab; 32])), ..cluster(HEAD, Health::Healthy, "") };
            let (clusters, repository) = (vec![held], Repository::default());
            render(
                &Status { schema: SCHEMA, commit: Some(HEAD), held_plan: None, clusters, rollout: None, repository },
                None,
                Timestamp::UNIX_EPOCH,
                false,
            )
        };
        assert!(held(1).contains("\na: 1 deletion is held; to release exactly this: evenkeel approve abab"), "{}", held(1));
        assert!(held(2).contains("\na: 2 deletions are held; to release exactly these: evenkeel approve abab"), "{}", held(2));
    }

    #[test]
    fn clusters_that_left_with_the_newest_commit_are_told_first() {
        let told = |lefts: &[Option<CommitId>]| {
            let clusters = lefts.iter().map(|with| ClusterStatus { left: *with, ..cluster(OLDER, Health::Unknown, "") }).collect();
            left(&status(clusters))
        };
        assert_eq!(told(&[None, Some(OLDER)]), "", "it left a while ago");
        let first = |told: &str| told.lines().next().unwrap_or_default().to_owned();
        assert_eq!(first(&told(&[None, Some(HEAD), Some(OLDER)])), "1 cluster left the repository with 6363636: a");
        assert_eq!(first(&told(&[Some(OLDER), Some(OLDER)])), "All 2 clusters left the repository with 0808080: a, a");
        assert_eq!(first(&told(&[Some(OLDER), Some(HEAD)])), "All 2 clusters left the repository: a, a");
        assert!(
            told(&[Some(HEAD); 7]).contains(": a, a, a, a, a and 2 more\n  hint: If that was not meant, put their cluster.yaml files back")
        );
    }

    #[test]
    fn what_no_agent_has_heard_yet_is_told_once_with_its_clusters() {
        let of = |name: &str, asked: &[&str]| ClusterStatus {
            name: name.to_owned(),
            unheard: asked.iter().map(|asked| (*asked).to_owned()).collect(),
            ..cluster(HEAD, Health::Healthy, "")
        };
        let told = |clusters| unheard(&status(clusters));
        assert_eq!(told(vec![of("a", &[])]), "");
        assert_eq!(
            told(vec![of("a", &["held"]), of("b", &[]), of("c", &["held", "put back"])]),
            "Recorded while no agent ran, and done when one starts:\n  a, c: held\n  c: put back\n"
        );
    }

    #[test]
    fn the_first_line_says_what_is_not_at_the_head_or_not_well() {
        let line = |clusters: Vec<ClusterStatus>, waves: Vec<ShownWave>| {
            let rollout = Some(Shown { waves });
            headline(&Status { rollout, ..status(clusters) })
        };
        let well = || cluster(HEAD, Health::Healthy, "");
        let waits = || cluster(OLDER, Health::Healthy, "waits for the wave canary, which has halted");
        let of = |health| cluster(HEAD, health, "");
        let halted = vec![wave("canary", WaveWord::Halted), wave("prod", WaveWord::Waiting)];
        for (clusters, waves, expected) in [
            (
                vec![well(), of(Health::Degraded), waits()],
                halted,
                "3 clusters: 3 Synced; 1 at an older commit, 1 Degraded; wave canary Halted",
            ),
            (vec![well(), of(Health::Progressing)], vec![wave("prod", WaveWord::Rolling)], "2 clusters: 2 Synced; 1 Progressing"),
            (vec![well()], Vec::new(), "1 cluster: 1 Synced"),
            // The same rendering, before the newer commit is noted as what runs.
            (vec![cluster(OLDER, Health::Healthy, "")], Vec::new(), "1 cluster: 1 Synced"),
        ] {
            assert_eq!(line(clusters, waves), format!("Head 6363636, {expected}\n"));
        }
    }
}
