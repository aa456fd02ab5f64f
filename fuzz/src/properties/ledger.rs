//! Ledger files that were damaged.

use rusqlite::{Connection, params, types::Value};
use srnas_ledger::{AnswerRecord, Database, Ledger, LedgerError, RunRecord, backup, repair, verify};
use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

/// A good ledger, as it lies on the disk.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.sqlite");
    let names = |name: &str| (name.to_string(), format!("{name}-family"));
    let run = RunRecord {
        name: "run".into(),
        space: "toy".into(),
        seed: 7,
        tasks: vec![names("a"), names("b")],
        benchmarks: vec![("toy".into(), "00ff".into())],
    };
    let mut database = Database::create(&path, &run).expect("a ledger");
    for i in 0..12u8 {
        let said = match i % 4 {
            3 => Err(format!("it diverged in epoch {i}")),
            _ => Ok((f64::from(i) * 0.25, BTreeMap::from([("loss".to_string(), f64::from(i))]))),
        };
        let fidelity = if i % 5 == 0 { 0.25 } else { 1.0 };
        let answer = AnswerRecord {
            key: u64::from(i) << 60,
            choices: vec![i, 1, 200],
            fidelity,
            cost: fidelity,
            said,
        };
        database.record_answer(u16::from(i % 2), &answer, "me").expect("an answer");
    }
    drop(database);
    let raw = Connection::open(&path).expect("a ledger");
    raw.execute_batch("INSERT INTO actors VALUES ('me', 9, 3, 40, 38, 2); PRAGMA journal_mode = delete")
        .expect("an actor");
    drop(raw);
    fs::read(&path).expect("a ledger")
});

/// An input is a list of changes to a good ledger, by the first byte of each: bytes overwritten somewhere, a cut, a page moved,
/// or another value in a column. The ledger is refused, or what it says fits together and is the same when it is opened again.
pub fn ledger(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.sqlite");
    let mut file = GOOD.clone();
    let mut changes = bytes;
    while let Some((change, rest)) = changes.split_at_checked(8) {
        changes = rest;
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % file.len().max(1);
        match change[0] % 8 {
            0..4 => file.iter_mut().skip(at).zip(&change[4..]).for_each(|(byte, new)| *byte = *new),
            4 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= change[4]),
            5 => file.truncate(at),
            6 => file.rotate_left(at),
            _ => {
                let (text, left) = changes.split_at(usize::from(change[7]).min(changes.len()));
                changes = left;
                fs::write(&path, &file).expect("a file");
                overwrite(&path, change, text);
                file = fs::read(&path).expect("a file");
            }
        }
    }
    fs::write(&path, &file).expect("a file");
    let first = contents(&path);
    assert_eq!(first, contents(&path), "what is read twice is the same");
    let before = fs::read(&path).expect("a file");
    let whole = verify(&path, &fits, None).is_ok_and(|findings| findings.faults.is_empty());
    assert_eq!(fs::read(&path).expect("a file"), before, "looking changes nothing");
    let copy = folder.path().join("copy.sqlite");
    match backup(&path, &copy, &fits) {
        Ok(_) => assert_eq!(contents(&copy).err(), None, "a copy is whole"),
        Err(_) => assert!(!copy.exists(), "a copy is whole or not there"),
    }
    match repair(&path, &fits) {
        Ok(repaired) => {
            assert!(
                !whole || repaired.lost.is_empty(),
                "of what is whole nothing is lost: {:?}",
                repaired.lost
            );
            assert!(repaired.damaged.is_file(), "the damaged one is kept");
            let again = verify(&path, &fits, None).expect("what was repaired can be read");
            assert_eq!((again.whole, again.faults), (repaired.kept, Vec::new()));
            assert!(contents(&path).is_ok_and(|all| all.iter().all(|said| !said.starts_with("Err"))));
        }
        Err(_) => assert_eq!(fs::read(&path).expect("a file"), before, "what cannot be repaired stays"),
    }
}

/// Three choices, and a key that is not asked for.
fn fits(_task: u16, _key: u64, choices: &[u8]) -> Result<(), String> {
    if choices.len() == 3 { Ok(()) } else { Err(format!("{choices:?} are not three choices")) }
}

/// Another value in one column of one row, or of all rows.
fn overwrite(path: &Path, change: &[u8], text: &[u8]) {
    const COLUMNS: [(&str, &str); 16] = [
        ("measurements", "task"),
        ("measurements", "key"),
        ("measurements", "fidelity"),
        ("measurements", "architecture"),
        ("measurements", "value"),
        ("measurements", "cost"),
        ("infeasible", "architecture"),
        ("infeasible", "fidelity"),
        ("infeasible", "reason"),
        ("metrics", "value"),
        ("metrics", "name"),
        ("tasks", "name"),
        ("run", "seed"),
        ("run", "space"),
        ("actors", "acknowledged"),
        ("run", "policy_version"),
    ];
    let (table, column) = COLUMNS[usize::from(change[1] % 16)];
    let words = String::from_utf8_lossy(text).into_owned();
    let number = text.iter().fold(0i64, |n, &b| (n << 8) | i64::from(b));
    let value = match change[2] % 5 {
        0 => Value::Text(words),
        1 => Value::Blob(text.to_vec()),
        2 => Value::Integer(number),
        3 => Value::Real(words.parse().unwrap_or(f64::INFINITY)),
        _ => Value::Null,
    };
    let Ok(connection) = Connection::open(path) else { return };
    let _ = connection.execute_batch("PRAGMA ignore_check_constraints = on; PRAGMA journal_mode = delete");
    let _ = connection.execute(
        &format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2 OR ?2 = 0"),
        params![value, change[3] % 13],
    );
}

/// Everything that a ledger says; or why it is refused.
fn contents(path: &Path) -> Result<Vec<String>, String> {
    let (database, run) = Database::open_any(path).map_err(|e| e.to_string())?;
    let said = |e: LedgerError| e.to_string();
    let mut all = vec![format!("{run:?}"), format!("{:?}", database.policy_version().map_err(said))];
    all.push(format!("{:?}", database.actors().map_err(said)));
    let measurements = database.measurements(None, fits).map_err(said);
    if let Ok(m) = &measurements {
        let n = m.tasks.len();
        assert_eq!([m.keys.len(), m.fidelities.len(), m.values.len()], [n; 3]);
        // As the learner takes them up.
        assert!(Ledger::new(run.tasks.len(), 3).enter(m).tasks.len() <= n);
    }
    all.push(format!("{measurements:?}"));
    for task in 0..run.tasks.len().min(4) as u16 {
        all.push(format!("{:?}", database.answers(task).map_err(said)));
    }
    Ok(all)
}
