//! The shared ledger by itself: what one writes the others read, nobody measures what another does, and what is damaged is not used.

use super::server::Server;
use srnas_ledger::{
    AnswerRecord, RunRecord,
    shared::{Claim, Flight, SharedLedger, Subject, repair, tasks_of_space, verify},
};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
    thread,
    time::Duration,
};

const LEASE: Duration = Duration::from_secs(60);

fn space() -> std::sync::Arc<SearchSpace> {
    SearchSpace::named("nb201").unwrap()
}

fn subject(goal: &str) -> Subject {
    let run = RunRecord {
        name: "run".into(),
        space: "nb201".into(),
        seed: 1,
        tasks: vec![(format!("cmd/{goal}"), goal.into())],
        benchmarks: vec![("cmd".into(), "00ff".into())],
    };
    Subject::of(&run, &space())
}

fn open(address: &str, holder: &str) -> SharedLedger {
    SharedLedger::open(address.parse().unwrap(), &subject("loss"), holder, LEASE).unwrap()
}

fn answer(key: u64, said: Result<f64, &str>) -> AnswerRecord {
    let said = said.map(|value| (value, BTreeMap::from([("loss".into(), -value)]))).map_err(String::from);
    AnswerRecord { key, choices: vec![key as u8, 1, 2, 3, 4, 0], fidelity: 1.0, cost: 1.0, said }
}

fn flight(key: u64) -> Flight {
    (key, 1f64.to_bits())
}

#[test]
fn what_one_writes_the_others_read_in_the_order_in_which_it_came() {
    let Some(server) = Server::start() else { return };
    let address = server.database("nas");
    let (a, b) = (open(&address, "a"), open(&address, "b"));
    let mut first = answer(u64::MAX, Ok(0.25));
    first.said = Ok((0.25, BTreeMap::from([("loss".into(), -0.25), ("never".into(), f64::NAN)])));
    let nul = answer(3, Err("it said \0 and died"));
    let short = AnswerRecord { fidelity: 0.25, cost: 0.25, ..answer(u64::MAX, Ok(0.125)) };
    for record in [&first, &nul, &short] {
        assert!(a.publish(record, "evaluator 1").unwrap());
        assert!(!b.publish(record, "b").unwrap(), "what is there stays");
    }
    assert!(!b.publish(&answer(3, Ok(9.0)), "b").unwrap(), "with a value or without");
    let kept = AnswerRecord { said: Ok((0.25, BTreeMap::from([("loss".into(), -0.25)]))), ..first };
    let said = AnswerRecord { said: Err("it said \u{fffd} and died".into()), ..nul };
    let news = b.news(0).unwrap();
    assert_eq!(news.answers, [kept, said, short.clone()]);
    assert_eq!((news.unusable.len(), news.theirs.len()), (0, 0));
    let last = news.last;
    assert_eq!(b.news(last).unwrap().answers, []);
    // What is searched for is another task.
    let other = SharedLedger::open(address.parse().unwrap(), &subject("speed"), "c", LEASE).unwrap();
    assert_eq!(other.news(0).unwrap().answers, []);
    assert!(other.publish(&short, "c").unwrap());
    assert_eq!(b.news(last).unwrap().answers, []);
    let tasks = tasks_of_space(&address.parse().unwrap(), &space()).unwrap();
    let counts: Vec<(&str, usize)> = tasks.iter().map(|(s, a)| (&s.name[..], a.len())).collect();
    assert_eq!(counts, [("cmd/loss", 3), ("cmd/speed", 1)]);
    let elsewhere = SearchSpace::named("nb101").unwrap();
    assert_eq!(tasks_of_space(&address.parse().unwrap(), &elsewhere).unwrap(), []);
    // The views that a run's file has.
    let mut sql = server.client("nas");
    let best = sql.query("SELECT task, value, measurements FROM incumbents", &[]).unwrap();
    let best: Vec<(String, f64, i64)> = best.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(best, [("cmd/loss".into(), 0.25, 1)]);
}

#[test]
fn a_training_is_left_to_one_and_free_again_when_that_one_gives_it_up_or_is_not_heard_of() {
    let Some(server) = Server::start() else { return };
    let address = server.database("nas");
    let (a, b) = (open(&address, "a"), open(&address, "b"));
    let choices = [1, 1, 2, 3, 4, 0];
    assert_eq!(a.claim(flight(1), &choices).unwrap(), Claim::Ours);
    assert_eq!(a.claim(flight(1), &choices).unwrap(), Claim::Ours, "asked again");
    assert_eq!(b.claim(flight(1), &choices).unwrap(), Claim::Theirs);
    assert_eq!(b.claim((1, 0.5f64.to_bits()), &choices).unwrap(), Claim::Ours, "a shorter one is another");
    assert_eq!(b.news(0).unwrap().theirs, HashSet::from([flight(1)]));
    b.release(flight(1)).unwrap();
    assert_eq!(b.claim(flight(1), &choices).unwrap(), Claim::Theirs, "only its holder gives it up");
    a.release(flight(1)).unwrap();
    assert_eq!(b.claim(flight(1), &choices).unwrap(), Claim::Ours);
    // With the answer the claim goes.
    b.publish(&answer(1, Ok(0.5)), "b").unwrap();
    assert_eq!(a.claim(flight(1), &choices).unwrap(), Claim::Answered(answer(1, Ok(0.5))));
    assert_eq!(a.news(0).unwrap().theirs, HashSet::from([(1, 0.5f64.to_bits())]));
    // Who comes again holds nothing, and who was not heard of loses what it had.
    drop(b);
    let b = open(&address, "b");
    assert_eq!(a.news(0).unwrap().theirs, HashSet::new());
    assert_eq!(a.claim(flight(2), &choices).unwrap(), Claim::Ours);
    let mut sql = server.client("nas");
    sql.execute("UPDATE claims SET until = now() - interval '1 second'", &[]).unwrap();
    a.renew().unwrap();
    assert_eq!(b.claim(flight(2), &choices).unwrap(), Claim::Theirs, "it was heard of in time after all");
    sql.execute("UPDATE claims SET until = now() - interval '1 second'", &[]).unwrap();
    assert_eq!(b.news(0).unwrap().theirs, HashSet::new());
    assert_eq!(b.claim(flight(2), &choices).unwrap(), Claim::Ours);
    assert_eq!(a.claim(flight(2), &choices).unwrap(), Claim::Theirs);
    // Both may have measured it: the first answer counts.
    assert!(a.publish(&answer(2, Ok(0.1)), "a").unwrap() && !b.publish(&answer(2, Ok(0.2)), "b").unwrap());
    b.release_all().unwrap();
    let left: i64 = sql.query_one("SELECT count(*) FROM claims", &[]).unwrap().get(0);
    assert_eq!(left, 0);
}

#[test]
fn many_at_once_measure_each_training_once_and_nobody_misses_an_answer() {
    let Some(server) = Server::start() else { return };
    let address = server.database("nas");
    const SEARCHES: u64 = 6;
    const TRAININGS: u64 = 60;
    let measured = Mutex::new(Vec::new());
    let search = &|search: u64| {
        // Whoever comes first makes the tables.
        let ledger = open(&address, &format!("search {search}"));
        let (mut last, mut heard) = (0, Vec::new());
        for i in 0..TRAININGS {
            let key = (i + 11 * search) % TRAININGS;
            match ledger.claim(flight(key), &answer(key, Ok(0.0)).choices).unwrap() {
                Claim::Ours => {
                    measured.lock().unwrap().push(key);
                    assert!(ledger.publish(&answer(key, Ok(key as f64)), "me").unwrap());
                }
                Claim::Theirs => {}
                Claim::Answered(said) => assert_eq!(said, answer(key, Ok(key as f64))),
            }
            let news = ledger.news(last).unwrap();
            last = news.last;
            heard.extend(news.answers.into_iter().map(|answer| answer.key));
        }
        (ledger, last, heard)
    };
    let searches: Vec<_> = thread::scope(|scope| {
        let begun: Vec<_> = (0..SEARCHES).map(|i| scope.spawn(move || search(i))).collect();
        begun.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (ledger, last, mut heard) in searches {
        heard.extend(ledger.news(last).unwrap().answers.into_iter().map(|answer| answer.key));
        let all: Vec<u64> = ledger.news(0).unwrap().answers.iter().map(|answer| answer.key).collect();
        assert_eq!(heard, all, "each once, in the same order");
    }
    let mut measured = measured.into_inner().unwrap();
    measured.sort_unstable();
    assert_eq!(measured, (0..TRAININGS).collect::<Vec<_>>());
    let found = verify(&address.parse().unwrap()).unwrap();
    assert_eq!((found.len(), found[0].whole, &found[0].faults[..]), (1, TRAININGS, &[][..]));
}

#[test]
fn what_was_written_outlives_a_server_that_is_killed_and_its_return_is_noticed() {
    let Some(mut server) = Server::start() else { return };
    let address = server.database("nas");
    let ledger = open(&address, "a");
    for key in 0..20 {
        ledger.publish(&answer(key, Ok(0.5)), "a").unwrap();
    }
    ledger.claim(flight(50), &[0; 6]).unwrap();
    server.kill();
    let error = ledger.news(0).unwrap_err().to_string();
    assert!(error.starts_with("the shared ledger postgres://ada@127.0.0.1:"), "{error}");
    assert!(ledger.publish(&answer(20, Ok(0.5)), "a").is_err());
    server.run();
    assert!(ledger.publish(&answer(20, Ok(0.5)), "a").unwrap());
    assert_eq!(ledger.news(0).unwrap().answers.len(), 21);
    // Killed and started again between two calls: the second is told nothing of it.
    server.kill();
    server.run();
    assert_eq!(open(&address, "b").claim(flight(50), &[0; 6]).unwrap(), Claim::Theirs);
    assert_eq!(ledger.news(0).unwrap().answers.len(), 21);
    assert_eq!(verify(&address.parse().unwrap()).unwrap()[0].faults, [""; 0]);
}

#[test]
fn what_is_not_what_was_written_is_not_used_and_can_be_taken_out() {
    let Some(server) = Server::start() else { return };
    let address = server.database("nas");
    let ledger = open(&address, "a");
    for key in 1..=4 {
        ledger.publish(&answer(key, if key == 4 { Err("no") } else { Ok(0.5) }), "a").unwrap();
    }
    let (mut sql, place) = (server.client("nas"), address.parse().unwrap());
    for (damage, undo, says) in [
        (
            "UPDATE measurements SET value = 0.75 WHERE id = 2",
            "UPDATE measurements SET value = 0.5 WHERE id = 2",
            "checksum",
        ),
        (
            "UPDATE measurements SET value = 'NaN' WHERE id = 2",
            "UPDATE measurements SET value = 0.5 WHERE id = 2",
            "answer 2",
        ),
        (
            "UPDATE metrics SET value = 7 WHERE measurement = 1",
            "UPDATE metrics SET value = -0.5 WHERE measurement = 1",
            "answer 1",
        ),
        ("UPDATE infeasible SET reason = 'yes'", "UPDATE infeasible SET reason = 'no'", "answer 4"),
        (
            "UPDATE measurements SET architecture = 'x' WHERE id = 3",
            "UPDATE measurements SET architecture = '3,1,2,3,4,0' WHERE id = 3",
            "answer 3",
        ),
    ] {
        sql.batch_execute(damage).unwrap();
        let news = ledger.news(0).unwrap();
        assert_eq!((news.answers.len(), news.unusable.len()), (3, 1), "{damage}");
        let faults = &verify(&place).unwrap()[0].faults;
        assert!(faults.len() == 1 && faults[0].contains(says), "{damage}: {faults:?}");
        sql.batch_execute(undo).unwrap();
        assert_eq!(verify(&place).unwrap()[0].faults, [""; 0], "{undo}");
    }
    // What is gone is missed, and what is damaged can be measured anew.
    sql.batch_execute("DELETE FROM infeasible; UPDATE measurements SET value = 0.75 WHERE id = 2").unwrap();
    assert_eq!(ledger.claim(flight(2), &[0; 6]).unwrap(), Claim::Ours);
    let lost = repair(&place).unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(
        lost[0].contains("1 answers of task 1 are not there") && lost[1].contains("answer 2"),
        "{lost:?}"
    );
    assert!(ledger.publish(&answer(2, Ok(0.5)), "a").unwrap());
    let found = &verify(&place).unwrap()[0];
    assert_eq!((found.whole, found.without_value, &found.faults[..]), (3, 0, &[][..]));
    assert_eq!(repair(&place).unwrap(), [""; 0]);
}

#[test]
fn newer_tables_wrong_passwords_and_databases_that_are_not_there_are_said() {
    let Some(server) = Server::start() else { return };
    let address = server.database("nas");
    let refused = |address: &str| {
        let opened = SharedLedger::open(address.parse().unwrap(), &subject("loss"), "a", LEASE);
        opened.err().expect("it must not open").to_string()
    };
    let said = refused(&format!("{}/nas", server.place("wrong")));
    assert!(said.contains("password authentication failed") && !said.contains("wrong"), "{said}");
    let without = address.replace(":ada@", "@");
    if std::env::var_os("PGPASSWORD").is_none() {
        assert!(
            refused(&without).ends_with("it wants a password: set PGPASSWORD, or write it into the address")
        );
    }
    assert!(refused(&format!("{}/none", server.place("ada"))).contains("database \"none\" does not exist"));
    assert!(refused("postgres://127.0.0.1:1/nas").contains("refused"));
    // Who may not make tables is told so; once they are there, reading and writing are enough.
    let mut sql = server.client("nas");
    sql.batch_execute("CREATE ROLE bob LOGIN PASSWORD 'bob'").unwrap();
    let bob = address.replace("ada:ada", "bob:bob");
    assert!(refused(&bob).contains("permission denied"));
    drop(open(&address, "a"));
    sql.batch_execute(
        "GRANT USAGE ON SCHEMA srnas TO bob; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA srnas TO bob",
    )
    .unwrap();
    assert!(open(&bob, "b").publish(&answer(1, Ok(0.5)), "b").unwrap());
    sql.batch_execute("UPDATE ledger SET schema = 99").unwrap();
    let said = refused(&address);
    assert!(
        said.contains("has schema 99") && said.contains("go on with the version that wrote it"),
        "{said}"
    );
}
