//! The tables of the ledger's file, and how older files get them. `docs/run-directory.md` explains them.

use super::{RunRecord, rows};
use rusqlite::{Connection, params};

/// Version of the schema, in `PRAGMA user_version`; a file with a higher one is refused.
pub(super) const SCHEMA: u32 = 4;

/// What each schema added. A new file gets all of them, an older one those that it lacks.
const STEPS: [&str; SCHEMA as usize] = [TABLES, ANSWERS, COSTS, ORDER];

const TABLES: &str = "
CREATE TABLE run (
    name TEXT NOT NULL,
    software TEXT NOT NULL,
    space TEXT NOT NULL,
    seed TEXT NOT NULL,
    policy_version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE benchmarks (name TEXT PRIMARY KEY, content_hash TEXT NOT NULL);
CREATE TABLE tasks (task INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, family TEXT NOT NULL);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    value REAL NOT NULL,
    actor TEXT NOT NULL,
    UNIQUE (task, key, fidelity)
);
CREATE TABLE actors (
    actor TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    environment_steps INTEGER NOT NULL,
    transitions INTEGER NOT NULL,
    episodes INTEGER NOT NULL,
    PRIMARY KEY (actor, incarnation)
) WITHOUT ROWID;
CREATE VIEW incumbents AS
    SELECT tasks.name AS task, max(value) AS value, architecture, count(*) AS measurements
    FROM measurements JOIN tasks USING (task) GROUP BY task;
";

/// Schema 2: everything else that an oracle said, and where it said that there is nothing.
const ANSWERS: &str = "
CREATE TABLE metrics (
    measurement INTEGER NOT NULL REFERENCES measurements,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (measurement, name)
) WITHOUT ROWID;
CREATE TABLE infeasible (
    task INTEGER NOT NULL REFERENCES tasks,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    UNIQUE (task, key, fidelity)
);
";

/// Schema 3: what was paid, where a training went on after a shorter one; and incumbents are of full trainings.
const COSTS: &str = "
ALTER TABLE measurements ADD COLUMN cost REAL;
ALTER TABLE infeasible ADD COLUMN cost REAL;
DROP VIEW incumbents;
CREATE VIEW incumbents AS
    SELECT tasks.name AS task, max(value) AS value, architecture, count(*) AS measurements
    FROM measurements JOIN tasks USING (task) WHERE fidelity = 1.0 GROUP BY task;
";

/// Schema 4: one order of ending over all answers, whether they have a value or not (older files do not say when what has none
/// ended: it comes last); a checksum of each answer, and in `run` their number and the sum of their checksums.
const ORDER: &str = "
CREATE TABLE without_value (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    cost REAL,
    checksum INTEGER NOT NULL DEFAULT 0,
    UNIQUE (task, key, fidelity)
);
INSERT INTO without_value (id, task, key, fidelity, architecture, reason, actor, cost)
    SELECT (SELECT ifnull(max(id), 0) FROM measurements) + row_number() OVER (ORDER BY rowid),
           task, key, fidelity, architecture, reason, actor, cost FROM infeasible;
DROP TABLE infeasible;
ALTER TABLE without_value RENAME TO infeasible;
ALTER TABLE measurements ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN repaired INTEGER NOT NULL DEFAULT 0;
CREATE VIEW answers AS
    SELECT id, task, key, fidelity, architecture, value, NULL AS reason, actor, cost, checksum FROM measurements
    UNION ALL
    SELECT id, task, key, fidelity, architecture, NULL, reason, actor, cost, checksum FROM infeasible;
";

/// Makes the tables of a new run, in one transaction.
pub(super) fn define(connection: &mut Connection, run: &RunRecord) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in STEPS {
        transaction.execute_batch(step)?;
    }
    transaction.execute(
        "INSERT INTO run (name, software, space, seed) VALUES (?1, ?2, ?3, ?4)",
        params![run.name, env!("CARGO_PKG_VERSION"), run.space, run.seed.to_string()],
    )?;
    for (index, (name, family)) in run.tasks.iter().enumerate() {
        transaction.execute("INSERT INTO tasks VALUES (?1, ?2, ?3)", params![index as i64, name, family])?;
    }
    for (name, hash) in &run.benchmarks {
        transaction.execute("INSERT INTO benchmarks VALUES (?1, ?2)", params![name, hash])?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

/// Adds to a file of an older schema what later ones have more, in one transaction.
pub(super) fn upgrade(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step)?;
    }
    rows::vouch_for_all(&transaction)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::{super::Database, *};

    /// A file as an older release left it, with three measurements and two without a value.
    fn older(path: &std::path::Path, schema: u32) {
        let connection = Connection::open(path).unwrap();
        for step in &STEPS[..schema as usize] {
            connection.execute_batch(step).unwrap();
        }
        let rows = "
            INSERT INTO run (name, software, space, seed) VALUES ('old', '0.1.0', 'toy', '1');
            INSERT INTO tasks VALUES (0, 'a', 'f');
            INSERT INTO measurements (task, key, fidelity, architecture, value, actor) VALUES
                (0, 1, 1.0, '0,1', 0.5, 'me'), (0, 2, 1.0, '0,2', 0.25, 'me'), (0, 3, 1.0, '1,0', 0.75, 'me');";
        connection.execute_batch(rows).unwrap();
        if schema >= 2 {
            let more = "
                INSERT INTO metrics VALUES (2, 'loss', 0.25);
                INSERT INTO infeasible (task, key, fidelity, architecture, reason, actor) VALUES
                    (0, 5, 1.0, '2,2', 'first', 'me'), (0, 4, 1.0, '2,1', 'second', 'me');";
            connection.execute_batch(more).unwrap();
        }
        connection.pragma_update(None, "user_version", schema).unwrap();
    }

    #[test]
    fn older_files_are_upgraded_and_lose_nothing() {
        for schema in 1..SCHEMA {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ledger.sqlite");
            older(&path, schema);
            let (mut database, run) = Database::open_any(&path).unwrap();
            assert_eq!((&run.name[..], run.tasks.len()), ("old", 1));
            let keys = |database: &Database| -> Vec<u64> {
                database.answers(0).unwrap().iter().map(|answer| answer.key).collect()
            };
            let before: &[u64] = if schema >= 2 { &[1, 2, 3, 5, 4] } else { &[1, 2, 3] };
            assert_eq!(keys(&database), before, "schema {schema}");
            assert_eq!(database.tally().answers, before.len() as u64);
            let second = &database.answers(0).unwrap()[1];
            assert_eq!((second.cost, second.said.as_ref().unwrap().1.len()), (1.0, usize::from(schema >= 2)));
            // What ends now comes after what was there.
            for (key, said) in [
                (6, Ok((0.5, Default::default()))),
                (7, Err("no".into())),
                (8, Ok((0.1, Default::default()))),
            ] {
                let answer = super::super::AnswerRecord { key, said, ..second.clone() };
                database.record_answer(0, &answer, "me").unwrap();
            }
            drop(database);
            let (database, _) = Database::open_any(&path).unwrap();
            assert_eq!(keys(&database), [before, &[6, 7, 8]].concat(), "schema {schema}");
        }
    }
}
