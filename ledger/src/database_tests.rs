//! What goes into a ledger's file comes out of it, and what is not its own is refused.

use super::{
    ActorRecord, AnswerRecord, Database, Record, RunRecord, Tally, rows::Known, tests::measurements,
};
use rusqlite::Connection;
use std::collections::BTreeMap;

fn record() -> RunRecord {
    RunRecord {
        name: "run".into(),
        space: "toy".into(),
        seed: u64::MAX,
        tasks: vec![("a".into(), "f".into()), ("b".into(), "g".into())],
        benchmarks: vec![("toy".into(), "00ff".into())],
    }
}

fn taken(incarnation: u64, acknowledged: u64, steps: u64) -> ActorRecord {
    let (actor, transitions, episodes) = ("a".into(), 2 * steps, 1);
    ActorRecord { actor, incarnation, acknowledged, environment_steps: steps, transitions, episodes }
}

#[test]
fn what_is_committed_is_there_when_it_is_opened_again_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut database = Database::create(&path, &record()).unwrap();
    let rows = [(0, u64::MAX, 1.0, 0.25), (1, 7, 0.06, -3.5)];
    let commit = |database: &mut Database, progress| {
        let record = Record { measurements: measurements(&rows), progress, policy_version: 5 };
        database.commit(&[record]).unwrap();
    };
    commit(&mut database, taken(9, 1, 10));
    commit(&mut database, taken(9, 2, 10));
    commit(&mut database, taken(u64::MAX, 1, 3));
    drop(database);
    let database = Database::open(&path, &record()).unwrap();
    assert_eq!(database.measurements(None, |_, _, _| Ok(())).unwrap(), measurements(&rows));
    assert_eq!(database.measurements(Some(1), |_, _, _| Ok(())).unwrap(), measurements(&rows[..1]));
    let mut actors = database.actors().unwrap();
    actors.sort_by_key(|a| a.incarnation);
    assert_eq!(actors, [ActorRecord { episodes: 2, ..taken(9, 2, 20) }, taken(u64::MAX, 1, 3)]);
    assert_eq!(database.policy_version().unwrap(), 5);
    let best: (String, f64) = Connection::open(&path)
        .unwrap()
        .query_row("SELECT task, value FROM incumbents", [], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap();
    // Of full trainings.
    assert_eq!(best, ("a".into(), 0.25));
}

fn full(key: u64, said: Result<f64, &str>) -> AnswerRecord {
    let said = said.map(|value| (value, BTreeMap::new())).map_err(String::from);
    AnswerRecord { key, choices: vec![key as u8, 1], fidelity: 1.0, cost: 1.0, said }
}

#[test]
fn answers_come_back_in_the_order_in_which_they_ended_with_their_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut database = Database::create(&path, &record()).unwrap();
    let mut good = full(u64::MAX, Ok(-0.1));
    good.said = Ok((-0.1, BTreeMap::from([("loss".to_string(), 0.1), ("acc".into(), f64::NAN)])));
    let bad = full(3, Err("it diverged"));
    // A shorter training of the same is another measurement, and none to be the best.
    let short = AnswerRecord { fidelity: 0.25, cost: 0.25, said: Ok((9.0, BTreeMap::new())), ..good.clone() };
    let rest = AnswerRecord { cost: 0.75, ..full(4, Ok(-0.0)) };
    let worst = full(5, Err("no memory"));
    for _ in 0..2 {
        for answer in [&bad, &good, &short, &worst, &rest] {
            database.record_answer(1, answer, "me").unwrap();
        }
    }
    drop(database);
    let database = Database::open(&path, &record()).unwrap();
    let mut kept = good.clone();
    kept.said = Ok((-0.1, BTreeMap::from([("loss".into(), 0.1)])));
    assert_eq!(database.answers(1).unwrap(), [bad, kept, short, worst, rest]);
    assert_eq!(database.answers(0).unwrap(), []);
    assert_eq!(database.measurements(None, |_, _, _| Ok(())).unwrap().values, [-0.1, 9.0, 0.0]);
    let best: (f64, u32) = Connection::open(&path)
        .unwrap()
        .query_row("SELECT value, measurements FROM incumbents WHERE task = 'b'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(best, (0.0, 2));
}

#[test]
fn nothing_of_an_answer_is_in_the_log_that_may_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut database = Database::create(&path, &record()).unwrap();
    database.record_answer(0, &full(1, Ok(0.5)), "me").unwrap();
    database.record_answer(0, &full(2, Err("no")), "me").unwrap();
    // As a kill leaves it.
    let killed = folder.path().join("killed.sqlite");
    std::fs::copy(&path, &killed).unwrap();
    let (killed, _) = Database::open_any(&killed).unwrap();
    assert_eq!(killed.answers(0).unwrap().len(), 2);
}

#[test]
fn what_a_checkpoint_knew_of_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut database = Database::create(&path, &record()).unwrap();
    let mut commit = |key| {
        let rows = measurements(&[(0, key, 1.0, 0.5)]);
        let record = Record { measurements: rows, progress: taken(1, key, 1), policy_version: 1 };
        database.commit(&[record]).unwrap();
        database.tally()
    };
    let tallies = [commit(1), commit(2), commit(3)];
    let holds = |database: &Database, answers, tally| database.still_holds(Known { answers, tally });
    for then in tallies {
        holds(&database, then.answers, Some(then)).unwrap();
    }
    let lost = Tally { answers: 5, ..tallies[2] };
    assert!(holds(&database, 3, Some(lost)).unwrap_err().to_string().contains("has 3 measurements, and"));
    assert!(holds(&database, 3, None).is_ok() && holds(&database, 4, None).is_err());
    let other = Tally { checksum: 1, ..tallies[1] };
    assert!(
        holds(&database, 3, Some(other)).unwrap_err().to_string().contains("first 2 measurements are not")
    );
    drop(database);
    // The file knows by itself that something is gone or another.
    let raw = Connection::open(&path).unwrap();
    let refused = |sql: &str, undo: &str, part: &str| {
        raw.execute_batch(sql).unwrap();
        let error = Database::open(&path, &record()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("srnas ledger repair"), "{sql}: {error}");
        raw.execute_batch(undo).unwrap();
        Database::open(&path, &record()).unwrap();
    };
    refused(
        "CREATE TABLE kept AS SELECT * FROM measurements WHERE id = 3; DELETE FROM measurements WHERE id = 3",
        "INSERT INTO measurements SELECT * FROM kept",
        "it has 2 answers, and 3 were written",
    );
    for (column, damaged, was) in
        [("value", "0.75", "0.5"), ("value", "9e999", "0.5"), ("key", "7", "2"), ("actor", "'b'", "'a'")]
    {
        refused(
            &format!("UPDATE measurements SET {column} = {damaged} WHERE id = 2"),
            &format!("UPDATE measurements SET {column} = {was} WHERE id = 2"),
            "answer 2",
        );
    }
    refused(
        "UPDATE measurements SET value = 'many' WHERE id = 2",
        "UPDATE measurements SET value = 0.5 WHERE id = 2",
        "cannot be read",
    );
}

#[test]
fn other_runs_newer_schemas_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(Database::create(&path, &record()).unwrap());
    let refused = |run: &RunRecord| Database::open(&path, run).unwrap_err().to_string();
    assert!(refused(&RunRecord { space: "other".into(), ..record() }).contains("its space is toy"));
    let mut run = record();
    run.benchmarks[0].1 = "11".into();
    assert!(refused(&run).contains("benchmark toy had another content"));
    run = record();
    run.tasks.pop();
    assert!(refused(&run).contains("2 tasks, not 1"));
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    assert!(refused(&record()).contains("schema 99"));
    std::fs::write(
        &path,
        "this is no database, and it is longer than a header of one hundred bytes would be, if it were one",
    )
    .unwrap();
    assert!(refused(&record()).contains("not a ledger"));
}

#[test]
fn what_has_no_value_is_forgotten_where_asked_and_the_rest_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut database = Database::create(&path, &record()).unwrap();
    let answers =
        [full(1, Err("no memory")), full(2, Ok(0.5)), full(3, Err("a bug")), full(4, Err("no memory"))];
    for answer in &answers {
        database.record_answer(0, answer, "me").unwrap();
    }
    database.record_answer(1, &answers[0], "me").unwrap();
    // Also while it is open.
    assert_eq!(Database::look(&path, 0).unwrap(), (record(), answers.to_vec()));
    assert_eq!(database.forget_infeasible(0, |reason| reason.contains("disk")).unwrap(), []);
    let gone = database.forget_infeasible(0, |reason| reason.contains("memory")).unwrap();
    assert_eq!(gone, [answers[0].clone(), answers[3].clone()]);
    // Asked again, it is an answer as any other.
    database.record_answer(0, &full(4, Ok(0.25)), "me").unwrap();
    drop(database);
    let database = Database::open(&path, &record()).unwrap();
    assert_eq!(database.answers(0).unwrap(), [answers[1].clone(), answers[2].clone(), full(4, Ok(0.25))]);
    assert_eq!(database.answers(1).unwrap(), [answers[0].clone()], "of another task");
    assert_eq!(database.tally().answers, 4);
}
