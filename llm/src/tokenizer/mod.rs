//! Text to tokens and back, by the file that came with the model: `tokenizer.json`, SentencePiece's `tokenizer.model`,
//! llama2.c's `.bin`, or what a GGUF file has inside.

mod learn;
mod merges;
mod pieces;
mod read;

use crate::{LlmError, config::Config, weights::metadata_of};
use merges::Merges;
pub(crate) use pieces::{Kind, Piece, Pieces};
use std::{borrow::Cow, path::Path};

/// A tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// Files of Hugging Face's that describe it, by name.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Inner {
    Pieces(Box<Pieces>),
    Json(Box<tokenizers::Tokenizer>),
}

/// The forms of a tokenizer that GGUF knows.
pub(crate) enum Vocabulary<'a> {
    /// Pieces with scores: `llama`.
    Pieces(Cow<'a, Pieces>),
    /// Bytes and what joins: `gpt2`.
    Merges(Merges),
}

impl Tokenizer {
    /// Reads a tokenizer from a file of any of the formats, or the one in a model's folder.
    ///
    /// # Errors
    /// What is not there, or not what it should be.
    pub fn load(path: &Path) -> Result<Self, LlmError> {
        if !path.is_dir() {
            return read::read(path);
        }
        let (json, model) = (path.join("tokenizer.json"), path.join("tokenizer.model"));
        match (json.exists(), model.exists()) {
            (false, false) => Err(LlmError::content(path, "has neither tokenizer.json nor tokenizer.model")),
            (true, false) => read::read(&json),
            (false, true) => read::read(&model),
            (true, true) => {
                let json = read::read(&json)?;
                // Both are the same where nothing was added to one of them; the pieces have scores, too.
                match read::read(&model) {
                    Ok(mut pieces) if pieces.len() == json.len() => {
                        let kept = pieces.files.into_iter().filter(|(name, _)| name == "tokenizer.model");
                        pieces.files = json.files.into_iter().chain(kept).collect();
                        Ok(pieces)
                    }
                    _ => Ok(json),
                }
            }
        }
    }

    /// A tokenizer for texts like this one, of `size` tokens: byte-pair encoding.
    ///
    /// # Errors
    /// A text with more characters than there is room for.
    pub fn learned(text: &str, size: usize) -> Result<Self, LlmError> {
        Ok(Self::of_pieces(learn::learned(text, size)?))
    }

    /// The one in the bytes of a GGUF file that is called `name`.
    pub(crate) fn of_gguf(bytes: &'static [u8], name: &str) -> Result<Self, LlmError> {
        read::of_metadata(&metadata_of(bytes, name)?, Path::new(name))
    }

    fn of_pieces(pieces: Pieces) -> Self {
        let files = vec![
            ("tokenizer.json".into(), pieces.to_json().to_string().into_bytes()),
            ("tokenizer_config.json".into(), pieces.config_json().to_string().into_bytes()),
            ("tokenizer.model".into(), read::to_sentencepiece(&pieces)),
        ];
        Self { inner: Inner::Pieces(Box::new(pieces)), files }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        match &self.inner {
            Inner::Pieces(pieces) => pieces.len(),
            Inner::Json(json) => json.get_vocab_size(true),
        }
    }

    /// Never true: a tokenizer has tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its pieces with scores, where it is of that kind.
    pub(crate) fn pieces(&self) -> Option<&Pieces> {
        match &self.inner {
            Inner::Pieces(pieces) => Some(pieces),
            Inner::Json(_) => None,
        }
    }

    /// As GGUF has it.
    ///
    /// # Errors
    /// A tokenizer.json that GGUF has no words for, with what it says.
    pub(crate) fn vocabulary(&self, config: &Config) -> Result<Vocabulary<'_>, LlmError> {
        if let Inner::Pieces(pieces) = &self.inner {
            return Ok(Vocabulary::Pieces(Cow::Borrowed(pieces)));
        }
        let file = self.files.iter().find(|(name, _)| name == "tokenizer.json");
        let json = serde_json::from_slice(file.map_or(&[], |(_, bytes)| bytes)).unwrap_or_default();
        let ends = || Some((config.bos?, *config.eos.first()?));
        let found = match merges::is_byte_level(&json) {
            true => Merges::of_json(&json).map(Vocabulary::Merges),
            false => ends()
                .ok_or_else(|| "the model's config names no tokens for beginning and end".to_string())
                .and_then(|(bos, eos)| Pieces::of_json(&json, bos, eos))
                .map(|pieces| Vocabulary::Pieces(Cow::Owned(pieces))),
        };
        found.map_err(|reason| LlmError::Asked(format!("the tokenizer cannot be written as GGUF: {reason}")))
    }

    /// Whether a text begins with the token for it where one that reads asks for that.
    pub(crate) fn begins(&self, config: &Config) -> bool {
        match &self.inner {
            Inner::Pieces(_) => true,
            Inner::Json(json) => {
                let first = json.encode_fast("a", true).ok().and_then(|read| read.get_ids().first().copied());
                first.is_some() && first == config.bos
            }
        }
    }

    /// Whether its tokens are a model's.
    ///
    /// # Errors
    /// With both numbers of tokens. A model may have up to 512 more than its tokenizer: vocabularies are padded.
    pub fn check(&self, config: &Config) -> Result<(), LlmError> {
        let (has, model) = (self.len(), config.vocabulary);
        if has > model || model > has + 512 || (model != has && self.pieces().is_some()) {
            return Err(LlmError::Asked(format!(
                "the tokenizer has {has} tokens and the model {model}: it is another model's tokenizer"
            )));
        }
        Ok(())
    }

    /// The tokens of a text, none of them for its beginning or its end.
    ///
    /// # Errors
    /// What the tokenizer cannot read.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, LlmError> {
        match &self.inner {
            Inner::Pieces(pieces) => Ok(pieces.encode(text)),
            Inner::Json(json) => {
                let encoded = json.encode_fast(text, false).map_err(|e| LlmError::Asked(e.to_string()))?;
                Ok(encoded.get_ids().to_vec())
            }
        }
    }

    /// The text of tokens from the beginning of a text on; those for beginning and end are left out.
    ///
    /// # Errors
    /// A token that there is not.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, LlmError> {
        if let Some(token) = tokens.iter().find(|t| **t as usize >= self.len()) {
            return Err(LlmError::Asked(format!(
                "there is no token {token}: the tokenizer has {}",
                self.len()
            )));
        }
        match &self.inner {
            Inner::Pieces(pieces) => Ok(pieces.decode(tokens)),
            Inner::Json(json) => json.decode(tokens, true).map_err(|e| LlmError::Asked(e.to_string())),
        }
    }
}
