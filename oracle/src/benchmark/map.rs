//! A file mapped into memory, read only.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
    path::Path,
};

/// The bytes of a file that is never written in place, shared with every process that maps it.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps a file. Refuses what is not a regular file.
    #[allow(unsafe_code, reason = "a map is sound only while nobody shortens or rewrites the file in place")]
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked before it is opened: opening a named pipe would wait for somebody to write to it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = File::open(path)?;
        // SAFETY: benchmark files and checkpoints are replaced by a rename and never written in place (see
        // `BenchmarkWriter::write`), so the mapped bytes stay what they are. All reads are of bytes, for which any bit pattern is valid.
        Ok(Self(unsafe { memmap2::Mmap::map(&file)? }))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
