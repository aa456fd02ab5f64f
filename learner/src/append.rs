//! A file that grows by whole records.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// A file that grows by whole records: what a failed write (a full disk) left of one is cut off before the next.
#[derive(Debug)]
pub(crate) struct AppendFile {
    file: File,
    /// Length up to the last whole record.
    length: u64,
    /// Whether something may follow it.
    torn: bool,
}

impl AppendFile {
    /// Opens a file, new or not, whose first `length` bytes are whole records.
    pub fn open(path: &Path, length: u64) -> io::Result<AppendFile> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let torn = file.metadata()?.len() > length;
        Ok(AppendFile { file, length, torn })
    }

    /// Adds a record, all of it or (in the end) nothing.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
        }
        self.torn = true;
        self.file.write_all(record)?;
        (self.length, self.torn) = (self.length + record.len() as u64, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_is_cut_off_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut file = AppendFile::open(&path, 4).unwrap();
        file.append(b"two\n").unwrap();
        file.append(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_full_disk_is_an_error_each_time() {
        // Linux has a disk that is always full.
        let mut file = AppendFile::open(Path::new("/dev/full"), 0).unwrap();
        assert_eq!(file.append(b"one\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(file.append(b"one\n").is_err());
        assert_eq!(file.length, 0);
    }
}
