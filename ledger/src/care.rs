//! Care for a ledger's file: is it whole, a copy of it, and a new one of what is left of it.

use super::{
    ActorRecord, Database, LedgerError, RunRecord,
    audit::Audit,
    database::{actors_of, add_actor, policy_version_of, run_of},
    file::{failed, parts, schema_of},
    rows::{Known, Row, Tally},
    salvage::Salvage,
    schema::SCHEMA,
};
use rusqlite::{Connection, OpenFlags};
use srnas_basics::text::with_causes;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Says what is wrong with an architecture of a task under a key.
pub type Fits<'a> = &'a dyn Fn(u16, u64, &[u8]) -> Result<(), String>;

/// What a look at every page and every answer of a ledger found.
#[derive(Debug)]
pub struct Findings {
    /// Whose it is, if that can be read.
    pub run: Option<RunRecord>,
    /// Its schema.
    pub schema: u32,
    /// Answers that are what was written.
    pub whole: u64,
    /// Those among them without a value.
    pub without_value: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// What became of a ledger.
#[derive(Debug)]
pub struct Repaired {
    /// Answers that were kept.
    pub kept: u64,
    /// What was lost, and why.
    pub lost: Vec<String>,
    /// Where the damaged file is now.
    pub damaged: PathBuf,
}

/// Looks at a whole ledger, and whether it has what a checkpoint knew of; nothing of it is changed.
///
/// # Errors
/// What is no ledger, a newer schema, and a file that cannot be read at all.
pub fn verify(path: &Path, fits: Fits, known: Option<Known>) -> Result<Findings, LedgerError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // One state of it, also while somebody writes.
    connection.execute_batch("BEGIN").map_err(|source| failed(path, source))?;
    let schema = known_schema(path, &connection)?;
    let mut faults = Vec::new();
    let run =
        run_of(&connection).map_err(|error| faults.push(format!("whose it is cannot be read: {error}"))).ok();
    let check = |sql: &str| -> rusqlite::Result<Vec<String>> {
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    match check("PRAGMA integrity_check(20)") {
        Ok(said) if said == ["ok"] => {}
        Ok(said) => faults.extend(said.iter().map(|line| format!("its pages: {line}"))),
        Err(error) => faults.push(format!("its pages: {error}")),
    }
    let tasks = run.as_ref().map(|run| run.tasks.len());
    let salvage = Salvage::of(&connection, schema, &of_tasks(tasks, fits));
    let whole = salvage.whole.len() as u64;
    faults.extend(salvage.lost);
    if let Some(noted) = salvage.noted.filter(|noted| noted.answers != whole) {
        faults.push(format!("{whole} answers are whole, and {} were written", noted.answers));
    }
    if let Err(error) = actors_of(&connection) {
        faults.push(format!("what was taken in of the actors cannot be read: {error}"));
    }
    // The answers may be whole and the view of them, which a run reads, not.
    if schema == SCHEMA && faults.is_empty() {
        match Audit::of(&connection) {
            Ok(audit) => faults.extend(audit.faults),
            Err(error) => faults.push(format!("a run could not read it: {error}")),
        }
    }
    if let Some(known) = known.filter(|_| faults.is_empty()) {
        let first = |answers: u64| -> Result<Tally, std::convert::Infallible> {
            let mut tally = Tally::default();
            salvage.whole.iter().take(answers as usize).for_each(|row| tally.add(row.checksum()));
            Ok(tally)
        };
        let repaired = salvage.noted.map_or(0, |noted| noted.repaired);
        let Ok(lost) = known.lost_in(Tally { answers: whole, checksum: 0, repaired }, first);
        faults.extend(lost);
    }
    let without_value = salvage.whole.iter().filter(|row| row.said.is_err()).count() as u64;
    Ok(Findings { run, schema, whole, without_value, faults })
}

/// Copies a ledger, also one that is written meanwhile: `to` is whole or not there.
///
/// # Errors
/// Where `to` exists, and where the ledger is not whole.
pub fn backup(path: &Path, to: &Path, fits: Fits) -> Result<Findings, LedgerError> {
    let at = |source| LedgerError::Name { path: to.display().to_string(), source };
    if to.exists() {
        return Err(at(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name")));
    }
    let folder = folder_of(to);
    fs::create_dir_all(folder).map_err(at)?;
    let aside = tempfile::Builder::new().prefix(".srnas-backup-").tempdir_in(folder).map_err(at)?;
    let copy = aside.path().join("ledger.sqlite");
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    known_schema(path, &connection)?;
    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(|source| failed(path, source))?;
    let findings = verify(&copy, fits, None)?;
    if let Some(reason) = findings.faults.first() {
        return Err(LedgerError::Damaged { path: path.display().to_string(), reason: reason.clone() });
    }
    // A schema that was written over is copied as it is; a copy is good for something only if it can be opened.
    if let Err(error) = Database::open_any(&copy) {
        let reason = format!("a copy of it is refused: {}", with_causes(&error));
        return Err(LedgerError::Damaged { path: path.display().to_string(), reason });
    }
    put(&copy, to).map_err(at)?;
    Ok(findings)
}

/// Makes a new ledger of what is whole in a damaged one and puts it in its place; the damaged one is kept beside it under
/// another name. Nobody may work in it meanwhile.
///
/// # Errors
/// Where nothing can be read, and where nothing can be written: the damaged one is where it was then.
pub fn repair(path: &Path, fits: Fits) -> Result<Repaired, LedgerError> {
    let at = |source| LedgerError::Name { path: path.display().to_string(), source };
    let aside = tempfile::Builder::new().prefix(".srnas-repair-").tempdir_in(folder_of(path)).map_err(at)?;
    // Opened, SQLite would write what it finds in the log into the file.
    let copy = aside.path().join("damaged.sqlite");
    for (from, to) in parts(path).iter().zip(parts(&copy)).take(2).filter(|(from, _)| from.is_file()) {
        fs::copy(from, to).map_err(at)?;
    }
    let beyond = |source: rusqlite::Error| LedgerError::Beyond {
        path: path.display().to_string(),
        reason: format!("whose it is cannot be read ({source})"),
    };
    let opened = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let connection = opened.map_err(beyond)?;
    let schema = known_schema(path, &connection)?;
    let run = run_of(&connection).map_err(beyond)?;
    let mut salvage = Salvage::of(&connection, schema, &of_tasks(Some(run.tasks.len()), fits));
    let actors = actors_of(&connection).unwrap_or_else(|error| {
        salvage.lost.push(format!("what was taken in of the actors: {error}"));
        Vec::new()
    });
    let version = policy_version_of(&connection).unwrap_or(0);
    drop(connection);
    let new = aside.path().join("ledger.sqlite");
    let Salvage { whole, mut lost, noted } = salvage;
    let repaired = noted.map_or(0, |noted| noted.repaired) + 1;
    let kept = fill(&new, &run, whole, &actors, version, repaired, &mut lost)?;
    if let Some(noted) = noted.filter(|noted| noted.answers != kept) {
        lost.push(format!("of {} answers that were written {kept} are kept", noted.answers));
    }
    let damaged = set_aside(path).map_err(at)?;
    put(&new, path).map_err(at)?;
    Ok(Repaired { kept, lost, damaged })
}

/// As `fits`, where there are so many tasks.
fn of_tasks(tasks: Option<usize>, fits: Fits<'_>) -> impl Fn(u16, u64, &[u8]) -> Result<(), String> {
    move |task, key, choices| match tasks.is_some_and(|tasks| usize::from(task) >= tasks) {
        true => Err("the run has no such task".into()),
        false => fits(task, key, choices),
    }
}

/// Makes the new file, whole and on the disk.
fn fill(
    path: &Path,
    run: &RunRecord,
    rows: Vec<Row>,
    actors: &[ActorRecord],
    version: u64,
    repaired: u64,
    lost: &mut Vec<String>,
) -> Result<u64, LedgerError> {
    let mut database = Database::create(path, run)?;
    database.write(|transaction, tally, next| {
        tally.repaired = repaired;
        for row in rows {
            let before = tally.answers;
            let row = Row { id: *next, ..row };
            row.enter(transaction, tally, next)?;
            if tally.answers == before {
                lost.push(format!("{row}: it is there twice"));
            }
        }
        for actor in actors {
            add_actor(transaction, actor)?;
        }
        transaction.execute("UPDATE run SET policy_version = ?1", [version as i64]).map(|_| ())
    })?;
    let tally = database.tally();
    drop(database);
    // As it is read from now on.
    let (whole, _) = Database::open_any(path)?;
    debug_assert_eq!(whole.tally(), tally);
    Ok(tally.answers)
}

/// Gives a damaged file another name, with its log, and takes the log away from under the old one: a new file would be
/// overwritten by it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let stem = path.file_stem().map_or("ledger".into(), |stem| stem.to_string_lossy());
    let names = (1..).map(|i| path.with_file_name(format!("{stem}.damaged-{i}.sqlite")));
    let free = |name: &PathBuf| parts(name).iter().all(|file| !file.exists());
    let name = names.into_iter().find(free).ok_or_else(|| io::Error::other("too many damaged files"))?;
    for (from, to) in parts(path).iter().zip(parts(&name)).take(2).filter(|(from, _)| from.is_file()) {
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to)?;
        }
    }
    File::open(folder_of(path))?.sync_all()?;
    for beside in &parts(path)[1..] {
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(name)
}

/// Puts a whole file in its place, on the disk.
fn put(new: &Path, path: &Path) -> io::Result<()> {
    File::open(new)?.sync_all()?;
    fs::rename(new, path)?;
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerError> {
    let opened = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    opened.map_err(|source| failed(path, source))
}

fn known_schema(path: &Path, connection: &Connection) -> Result<u32, LedgerError> {
    match schema_of(connection).map_err(|source| failed(path, source))? {
        0 => Err(LedgerError::Foreign { path: path.display().to_string() }),
        found @ 1..=SCHEMA => Ok(found),
        found => Err(LedgerError::Newer { path: path.display().to_string(), found, known: SCHEMA }),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{AnswerRecord, Record, Tally, tests::measurements},
        *,
    };

    fn anything(_: u16, _: u64, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record() -> RunRecord {
        RunRecord {
            name: "run".into(),
            space: "toy".into(),
            seed: 1,
            tasks: vec![("a".into(), "f".into())],
            benchmarks: Vec::new(),
        }
    }

    /// A closed ledger of so many measurements.
    fn ledger(path: &Path, answers: u64) -> Tally {
        let mut database = Database::create(path, &record()).unwrap();
        let rows: Vec<_> = (0..answers).map(|key| (0, key, 1.0, key as f32)).collect();
        let actor = ActorRecord {
            actor: "a".into(),
            incarnation: 1,
            acknowledged: 7,
            environment_steps: answers,
            transitions: 0,
            episodes: 0,
        };
        database
            .commit(&[Record { measurements: measurements(&rows), progress: actor, policy_version: 3 }])
            .unwrap();
        database.tally()
    }

    fn values(path: &Path) -> Vec<f64> {
        let (database, _) = Database::open_any(path).unwrap();
        database.answers(0).unwrap().into_iter().map(|answer| answer.said.unwrap().0).collect()
    }

    #[test]
    fn a_copy_is_made_while_it_is_written_and_of_what_is_whole_only() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("ledger.sqlite"), folder.path().join("copy/ledger.sqlite"));
        let mut database = Database::create(&path, &record()).unwrap();
        let mut answer = AnswerRecord {
            key: 1,
            choices: vec![0, 1],
            fidelity: 1.0,
            cost: 1.0,
            said: Ok((0.5, [("loss".to_string(), 0.5)].into())),
        };
        database.record_answer(0, &answer, "me").unwrap();
        assert_eq!(backup(&path, &to, &anything).unwrap().whole, 1);
        (answer.key, answer.said) = (2, Err("no".into()));
        database.record_answer(0, &answer, "me").unwrap();
        assert!(
            backup(&path, &to, &anything).unwrap_err().to_string().contains("there is a file of that name")
        );
        let findings = verify(&path, &anything, None).unwrap();
        assert_eq!((findings.whole, findings.without_value, findings.faults.len()), (2, 1, 0));
        let (copy, run) = Database::open_any(&to).unwrap();
        assert_eq!((copy.answers(0).unwrap().len(), run), (1, record()));
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch("UPDATE metrics SET value = 0.25").unwrap();
        let second = folder.path().join("second.sqlite");
        let refused = backup(&path, &second, &anything).unwrap_err().to_string();
        assert!(refused.contains("answer 1") && !second.exists(), "{refused}");
        assert_eq!(
            fs::read_dir(folder.path().join("copy"))
                .unwrap()
                .filter(|e| { !e.as_ref().unwrap().file_name().to_string_lossy().starts_with("ledger") })
                .count(),
            0
        );
    }

    #[test]
    fn what_is_whole_is_kept_and_the_rest_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let tally = ledger(&path, 2000);
        let knew = Known { answers: 2000, tally: Some(tally) };
        let known = Some(knew);
        assert_eq!(verify(&path, &anything, known).unwrap().faults, [""; 0]);
        // A page in the middle of the measurements is no page any more, and a value elsewhere is another.
        let mut bytes = fs::read(&path).unwrap();
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(
            "UPDATE measurements SET value = 3.5 WHERE id = 11; PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
        drop(raw);
        let changed = fs::read(&path).unwrap();
        let page = |at: usize| at / 4096 * 4096;
        let leaf = (0..bytes.len()).step_by(4096).filter(|&at| bytes[at] == 13 && at > 0).nth(9).unwrap();
        bytes = changed;
        bytes[page(leaf)..page(leaf) + 4096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let findings = verify(&path, &anything, known).unwrap();
        assert!(findings.whole < 2000 && findings.whole > 1500, "{findings:?}");
        assert!(findings.faults.iter().any(|fault| fault.contains("answer 11:")), "{findings:?}");
        assert!(Database::open_any(&path).unwrap_err().to_string().contains("srnas ledger repair"));

        let repaired = repair(&path, &anything).unwrap();
        assert_eq!(repaired.kept, findings.whole);
        assert!(repaired.lost.iter().any(|lost| lost.contains("answer 11:")), "{:?}", repaired.lost);
        assert!(repaired.lost.iter().any(|lost| lost.contains("of 2000 answers")), "{:?}", repaired.lost);
        assert_eq!(fs::read(&repaired.damaged).unwrap(), bytes, "the damaged one is as it was");
        let kept = values(&path);
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]) && !kept.contains(&3.5), "{kept:?}");
        assert_eq!(kept.len() as u64, repaired.kept);
        let (database, run) = Database::open_any(&path).unwrap();
        assert_eq!((run, database.policy_version().unwrap()), (record(), 3));
        assert_eq!(database.actors().unwrap()[0].acknowledged, 7);
        // The checkpoint knew of more: that has been said, and the run goes on.
        database.still_holds(knew).unwrap();
        assert_eq!(verify(&path, &anything, known).unwrap().faults, [""; 0]);
    }

    #[test]
    fn what_a_removed_log_had_is_missed_by_the_checkpoint_and_a_repair_goes_on_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let tally = ledger(&path, 30);
        let known = Some(Known { answers: 40, tally: Some(Tally { answers: 40, ..tally }) });
        let faults = verify(&path, &anything, known).unwrap().faults;
        assert!(faults.len() == 1 && faults[0].contains("ledger.sqlite-wal"), "{faults:?}");
        let repaired = repair(&path, &anything).unwrap();
        assert_eq!((repaired.kept, repaired.lost.len()), (30, 0));
        assert_eq!(verify(&path, &anything, known).unwrap().faults, [""; 0]);
        assert_eq!(values(&path).len(), 30);
    }

    /// Found by fuzzing: four bytes of the schema's text.
    #[test]
    fn what_a_run_could_not_read_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        ledger(&path, 5);
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(
            "PRAGMA writable_schema = on;
             UPDATE sqlite_master SET sql = replace(sql, 'SELECT id', 'SELECT ix') WHERE name = 'answers';
             PRAGMA writable_schema = off",
        )
        .unwrap();
        drop(raw);
        assert!(Database::open_any(&path).is_err());
        let findings = verify(&path, &anything, None).unwrap();
        assert_eq!(findings.whole, 5);
        assert!(findings.faults[0].contains("a run could not read it"), "{:?}", findings.faults);
        assert!(backup(&path, &folder.path().join("copy.sqlite"), &anything).is_err());
        let repaired = repair(&path, &anything).unwrap();
        assert_eq!((repaired.kept, values(&path).len()), (5, 5));
    }

    #[test]
    fn keys_of_other_architectures_and_what_cannot_be_read_at_all_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        ledger(&path, 5);
        let but_three = |_: u16, key: u64, _: &[u8]| match key {
            3 => Err("its key is that of another architecture".to_string()),
            _ => Ok(()),
        };
        assert!(verify(&path, &but_three, None).unwrap().faults[0].contains("another architecture"));
        assert_eq!(repair(&path, &but_three).unwrap().kept, 4);
        fs::write(&path, "no database, however long the text is that stands where a hundred bytes of header should be: none").unwrap();
        for error in [verify(&path, &anything, None).map(|_| ()), repair(&path, &anything).map(|_| ())] {
            let said = error.unwrap_err().to_string();
            assert!(said.contains("backup"), "{said}");
        }
        assert!(fs::read_to_string(&path).unwrap().starts_with("no database"), "nothing is changed");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().starts_with("ledger")), "{left:?}");
    }
}
