//! What can be wrong with a model, its tokenizer, its questions and its export.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a language model cannot be read, run, measured or written.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// What is asked for is not possible with this model.
    #[error("{0}")]
    Asked(String),
    /// A tensor operation fails.
    #[error("a tensor operation fails")]
    Tensor(#[from] candle_core::Error),
    /// A network's gradients or optimiser fail.
    #[error("training fails")]
    Network(#[from] srnas_network::Error),
}

impl LlmError {
    pub(crate) fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content { path: path.into(), reason: reason.into() }
    }

    /// Whether what was asked for or given is wrong, and nothing failed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Content { .. } | Self::Asked(_) => true,
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Tensor(_) | Self::Network(_) => false,
        }
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LlmError> {
    std::fs::read(path).map_err(|source| LlmError::File { path: path.into(), source })
}

/// Reads a whole text, unpacked where it is gzip.
///
/// # Errors
/// What is not there, and what is no UTF-8.
pub fn read_text(path: &Path) -> Result<String, LlmError> {
    use io::Read;
    let mut bytes = read(path)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let packed = std::mem::take(&mut bytes);
        let told = |source| LlmError::File { path: path.into(), source };
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).map_err(told)?;
    }
    String::from_utf8(bytes).map_err(|_| LlmError::content(path, "is no UTF-8"))
}

/// Reads how a file starts; zeros where it is shorter.
pub(crate) fn read_start<const N: usize>(path: &Path) -> Result<[u8; N], LlmError> {
    use io::Read;
    let told = |source| LlmError::File { path: path.into(), source };
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(told)?.take(N as u64).read_to_end(&mut start).map_err(told)?;
    start.resize(N, 0);
    Ok(start.try_into().expect("of this length"))
}
