//! The tables of a shared ledger, and how an older one gets them: those of a run's file ([`crate::schema`]), with the columns that
//! tell several searches apart. `docs/sharing-measurements.md` explains them.

use postgres::{Client, Transaction};

/// Version of the tables; a ledger with a higher one is refused.
pub(super) const SCHEMA: i32 = 1;

/// What each version added. A new ledger gets all of them, an older one those that it lacks.
const STEPS: [&str; SCHEMA as usize] = [TABLES];

/// One at a time makes or changes tables: of whoever comes at once, the others wait for this lock ("srnas").
const LOCK: i64 = 0x73_72_6e_61_73;

const TABLES: &str = "
CREATE TABLE ledger (schema INTEGER NOT NULL, software TEXT NOT NULL, next BIGINT NOT NULL);
INSERT INTO ledger VALUES (0, '', 1);
CREATE TABLE tasks (
    task INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (task < 65536),
    name TEXT NOT NULL,
    family TEXT NOT NULL,
    space TEXT NOT NULL,
    space_hash TEXT NOT NULL,
    benchmark TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    answers BIGINT NOT NULL DEFAULT 0,
    checksum BIGINT NOT NULL DEFAULT 0,
    UNIQUE (space_hash, name, content_hash)
);
CREATE TABLE measurements (
    id BIGINT PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key BIGINT NOT NULL,
    fidelity DOUBLE PRECISION NOT NULL,
    architecture TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    actor TEXT NOT NULL,
    cost DOUBLE PRECISION,
    checksum BIGINT NOT NULL,
    UNIQUE (task, key, fidelity)
);
CREATE INDEX ON measurements (task, id);
CREATE TABLE metrics (
    measurement BIGINT NOT NULL REFERENCES measurements ON DELETE CASCADE,
    name TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (measurement, name)
);
CREATE TABLE infeasible (
    id BIGINT PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key BIGINT NOT NULL,
    fidelity DOUBLE PRECISION NOT NULL,
    architecture TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    cost DOUBLE PRECISION,
    checksum BIGINT NOT NULL,
    UNIQUE (task, key, fidelity)
);
CREATE INDEX ON infeasible (task, id);
CREATE TABLE claims (
    task INTEGER NOT NULL REFERENCES tasks,
    key BIGINT NOT NULL,
    fidelity DOUBLE PRECISION NOT NULL,
    architecture TEXT NOT NULL,
    holder TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (task, key, fidelity)
);
CREATE VIEW answers AS
    SELECT id, task, key, fidelity, architecture, value, NULL AS reason, actor, cost, checksum FROM measurements
    UNION ALL
    SELECT id, task, key, fidelity, architecture, NULL, reason, actor, cost, checksum FROM infeasible;
CREATE VIEW incumbents AS
    SELECT DISTINCT ON (m.task) tasks.name AS task, value, architecture,
           count(*) OVER (PARTITION BY m.task) AS measurements
    FROM measurements AS m JOIN tasks ON tasks.task = m.task WHERE fidelity = 1.0 ORDER BY m.task, value DESC, id;
";

/// Which version a database has; 0 where it has none.
pub(super) fn version(transaction: &mut Transaction) -> Result<i32, postgres::Error> {
    // A look into the catalogue sees what somebody else has just made; to_regclass may not.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'srnas' AND tablename = 'ledger')";
    let is_there: bool = transaction.query_one(sql, &[])?.get(0);
    match is_there {
        true => Ok(transaction.query_one("SELECT schema FROM srnas.ledger", &[])?.get(0)),
        false => Ok(0),
    }
}

/// Gives a database what it lacks, in one transaction; the version that it had, of which a higher one is left as it is.
pub(super) fn prepare(client: &mut Client) -> Result<i32, postgres::Error> {
    let mut transaction = client.transaction()?;
    // Who may read and write only need not be allowed to make anything.
    let found = version(&mut transaction)?;
    if found >= SCHEMA {
        return Ok(found);
    }
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let found = version(&mut transaction)?;
    if found >= SCHEMA {
        return Ok(found);
    }
    transaction.batch_execute("CREATE SCHEMA IF NOT EXISTS srnas")?;
    for step in &STEPS[found as usize..] {
        transaction.batch_execute(step)?;
    }
    let software = env!("CARGO_PKG_VERSION");
    transaction.execute("UPDATE ledger SET schema = $1, software = $2", &[&SCHEMA, &software])?;
    transaction.commit()?;
    Ok(SCHEMA)
}
