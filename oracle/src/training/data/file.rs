//! Reading the files of published data sets.

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What is wrong with image files.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The text names no data set.
    #[error(
        "`{text}` is not a data set: digits, fashion:DIR, mnist:DIR, idx:DIR, cifar10:DIR and cifar100:DIR are"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// A file is not there.
    #[error("{} is missing; {from} has it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Where it is to be had.
        from: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not of its format, or of another size than it says.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is not the published one.
    #[error(
        "{} has SHA-256 {found}, and the published file {expected}: it is damaged, or another data set{hint}",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        expected: &'static str,
        /// What to do, ready to print.
        hint: &'static str,
    },
}

impl DataError {
    pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.into(), reason: reason.into() }
    }
}

/// The bytes of a file.
pub(super) fn read(path: &Path, from: &'static str) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::Missing { path: path.into(), from },
        _ => DataError::Read { path: path.into(), source },
    })
}

/// Refuses bytes that are not those of the published file.
pub(super) fn check(
    path: &Path,
    bytes: &[u8],
    expected: &'static str,
    hint: &'static str,
) -> Result<(), DataError> {
    let found = hex(&Sha256::digest(bytes));
    if found != expected {
        return Err(DataError::Checksum { path: path.into(), found, expected, hint });
    }
    Ok(())
}

/// What was compressed with gzip.
pub(super) fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut unpacked)
        .map_err(|e| DataError::malformed(path, format!("cannot be unpacked: {e}")))?;
    Ok(unpacked)
}
