//! The ledger as a file: how SQLite opens it, and what it means when it cannot.

use super::LedgerError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};

/// What SQLite says, or what it means for a ledger.
pub(super) fn failed(path: &Path, source: rusqlite::Error) -> LedgerError {
    use rusqlite::Error;
    let name = path.display().to_string();
    match &source {
        Error::SqliteFailure(e, _) if e.code == ErrorCode::NotADatabase => {
            LedgerError::Foreign { path: name }
        }
        Error::SqliteFailure(e, _) if e.code == ErrorCode::DatabaseCorrupt => {
            LedgerError::Damaged { path: name, reason: source.to_string() }
        }
        Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..) => LedgerError::Damaged {
            path: name,
            reason: format!("something in it is of another kind: {source}"),
        },
        Error::QueryReturnedNoRows => {
            LedgerError::Damaged { path: name, reason: "its table `run` is empty".into() }
        }
        _ => LedgerError::Sqlite { path: name, source },
    }
}

pub(super) fn connect(path: &Path, more: OpenFlags) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    Connection::open_with_flags(path, flags).map_err(|source| failed(path, source))
}

/// Write-ahead log, flushed to the disk at every commit: what is committed survives a power cut.
pub(super) fn durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))
}

/// A database file and what SQLite has beside it, as far as they are there.
pub(super) fn parts(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        file.into()
    })
}

/// Removes a database file with what is beside it.
pub(super) fn remove(path: &Path) {
    for file in parts(path) {
        let _ = std::fs::remove_file(file);
    }
}

/// Which schema a file has, 0 if it is no ledger.
pub(super) fn schema_of(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
