//! Policy snapshots: cut into chunks, put together again.

use bytes::{Bytes, BytesMut};
use srnas_proto::v1::PolicyChunk;

/// Data bytes of a chunk: clear of the 4 MiB that gRPC decodes by default, and cheaper than whole snapshots.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// No policy is larger than this.
pub const MAX_SNAPSHOT_BYTES: u64 = 256 * 1024 * 1024;

/// One version of the policy, as safetensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts the broadcasts.
    pub version: u64,
    /// The safetensors file.
    pub bytes: Bytes,
    hash: u64,
}

/// Why chunks do not make a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenSnapshot {
    /// A chunk is not the one that comes next.
    #[error(
        "policy {version}: a chunk for byte {offset} of {total_bytes} came where byte {expected} of policy {of} was due"
    )]
    OutOfOrder {
        /// Version in the chunk.
        version: u64,
        /// Offset in the chunk.
        offset: u64,
        /// Length in the chunk.
        total_bytes: u64,
        /// Offset that was due.
        expected: u64,
        /// Version that was due.
        of: u64,
    },
    /// The snapshot is larger than allowed, or a chunk reaches beyond its end.
    #[error("policy {version} has {bytes} bytes, more than the {limit} allowed")]
    Oversize {
        /// Version in the chunk.
        version: u64,
        /// Announced or received bytes.
        bytes: u64,
        /// Allowed bytes.
        limit: u64,
    },
    /// The bytes are not those that were sent.
    #[error("policy {version} arrived damaged: its FNV-1a hash is {found:016x}, not {expected:016x}")]
    Damaged {
        /// Version of the snapshot.
        version: u64,
        /// Hash of what arrived.
        found: u64,
        /// Hash that was announced.
        expected: u64,
    },
}

impl Snapshot {
    /// Hashes the bytes once, however many subscribers will get them.
    pub fn new(version: u64, bytes: Bytes) -> Snapshot {
        let hash = fnv1a(&bytes);
        Snapshot { version, bytes, hash }
    }

    /// The pieces in order, without copying; an empty snapshot is one empty piece.
    pub fn chunks(&self) -> impl Iterator<Item = PolicyChunk> + use<> {
        let Snapshot { version, bytes, hash } = self.clone();
        let length = bytes.len();
        let offsets = (0..length.max(1)).step_by(CHUNK_BYTES);
        offsets.map(move |offset| PolicyChunk {
            version,
            total_bytes: length as u64,
            offset: offset as u64,
            hash,
            data: bytes.slice(offset..length.min(offset + CHUNK_BYTES)),
        })
    }
}

/// Puts snapshots together again.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Version, length and hash of the snapshot under way.
    header: Option<(u64, u64, u64)>,
    bytes: BytesMut,
}

impl Assembler {
    /// Takes the next chunk and returns the snapshot when it was the last one.
    ///
    /// # Errors
    /// [`BrokenSnapshot`]; what was collected so far is dropped, and the next chunk must begin a snapshot.
    pub fn push(&mut self, chunk: PolicyChunk) -> Result<Option<Snapshot>, BrokenSnapshot> {
        let result = self.take(chunk);
        if !matches!(result, Ok(None)) {
            *self = Assembler::default();
        }
        result
    }

    fn take(&mut self, chunk: PolicyChunk) -> Result<Option<Snapshot>, BrokenSnapshot> {
        let PolicyChunk { version, total_bytes, offset, hash, data } = chunk;
        let header = *self.header.get_or_insert((version, total_bytes, hash));
        let received = self.bytes.len() as u64;
        if header != (version, total_bytes, hash)
            || offset != received
            || (data.is_empty() && total_bytes > 0)
        {
            let (of, expected) = (header.0, received);
            return Err(BrokenSnapshot::OutOfOrder { version, offset, total_bytes, expected, of });
        }
        if total_bytes > MAX_SNAPSHOT_BYTES {
            return Err(BrokenSnapshot::Oversize { version, bytes: total_bytes, limit: MAX_SNAPSHOT_BYTES });
        }
        let received = received + data.len() as u64;
        if received > total_bytes {
            return Err(BrokenSnapshot::Oversize { version, bytes: received, limit: total_bytes });
        }
        // Grows with what arrives, never by what is announced.
        self.bytes.extend_from_slice(&data);
        if received < total_bytes {
            return Ok(None);
        }
        let snapshot = Snapshot::new(version, std::mem::take(&mut self.bytes).freeze());
        if snapshot.hash != hash {
            return Err(BrokenSnapshot::Damaged { version, found: snapshot.hash, expected: hash });
        }
        Ok(Some(snapshot))
    }
}

/// FNV-1a, 64 bits.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
