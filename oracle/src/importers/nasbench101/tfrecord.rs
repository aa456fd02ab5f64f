//! TFRecord files: each record is its length, a checksum of that, its bytes, and a checksum of them (CRC-32C, masked), as TensorFlow
//! writes them.

use std::io::{self, Read};

/// No record of a benchmark is so long: a longer one is a file of another kind.
const LONGEST: u64 = 1 << 24;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It ends too early.
    #[error("record {record} is cut short, at byte {at}")]
    Short {
        /// Which record, from 1.
        record: u64,
        /// Where it begins.
        at: u64,
    },
    /// A checksum is not that of what it is for.
    #[error(
        "record {record}, at byte {at}: the checksum of its {of} is not right; the file is damaged, or no TFRecord"
    )]
    Checksum {
        /// Which record, from 1.
        record: u64,
        /// Where it begins.
        at: u64,
        /// "length" or "contents".
        of: &'static str,
    },
    /// A record is too long.
    #[error("record {record}, at byte {at}, has {length} bytes, which none of NAS-Bench-101 has")]
    Long {
        /// Which record, from 1.
        record: u64,
        /// Where it begins.
        at: u64,
        /// Its length.
        length: u64,
    },
}

/// The records of a file, one after the other.
#[derive(Debug)]
pub struct Records<R> {
    reader: R,
    record: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Records<R> {
    /// Records of what is read.
    pub fn new(reader: R) -> Self {
        Self { reader, record: 0, at: 0, bytes: Vec::new() }
    }

    /// Number of the last record, from 1.
    pub fn record(&self) -> u64 {
        self.record
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn read(&mut self) -> Result<Option<&[u8]>, RecordError> {
        let mut head = [0; 12];
        let read = fill(&mut self.reader, &mut head)?;
        if read == 0 {
            return Ok(None);
        }
        self.record += 1;
        let (record, at) = (self.record, self.at);
        if read < head.len() {
            return Err(RecordError::Short { record, at });
        }
        let (length, checksum) = head.split_at(8);
        if masked(length) != checksum {
            return Err(RecordError::Checksum { record, at, of: "length" });
        }
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        if length > LONGEST {
            return Err(RecordError::Long { record, at, length });
        }
        self.bytes.resize(length as usize + 4, 0);
        if fill(&mut self.reader, &mut self.bytes)? < self.bytes.len() {
            return Err(RecordError::Short { record, at });
        }
        let (contents, checksum) = self.bytes.split_at(length as usize);
        if masked(contents) != checksum {
            return Err(RecordError::Checksum { record, at, of: "contents" });
        }
        self.at += head.len() as u64 + length + 4;
        Ok(Some(contents))
    }
}

/// Reads until a buffer is full or there is no more; how much it was.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match reader.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// The masked checksum of TFRecord.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A record of these contents, as it stands in a file.
pub fn record(contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), contents, &masked(contents)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RecordError> {
        let mut records = Records::new(bytes);
        let mut all = Vec::new();
        while let Some(contents) = records.read()? {
            all.push(contents.to_vec());
        }
        Ok(all)
    }

    #[test]
    fn a_record_is_as_tensorflow_writes_it() {
        // The check value of CRC-32C, and its mask: rotated by 15 bits, a constant added.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(record(b"123456789")[21..], 0xc78a_b0e5_u32.to_le_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_what_is_damaged_is_refused(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
            at in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let bytes: Vec<u8> = contents.iter().flat_map(|contents| record(contents)).collect();
            prop_assert_eq!(&all(&bytes).unwrap(), &contents);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                prop_assert!(all(&damaged).is_err());
                // Cut between records it is a shorter file, which counts are to tell.
                let mut ends = contents.iter().scan(0, |end, c| { *end += c.len() + 16; Some(*end) });
                if at > 0 && !ends.any(|end| end == at) {
                    prop_assert!(all(&bytes[..at]).is_err());
                }
            }
        }
    }
}
