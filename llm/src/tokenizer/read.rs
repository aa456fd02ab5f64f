//! The formats of tokenizers.

use super::{
    Inner, Tokenizer,
    merges::Merges,
    pieces::{Kind, Piece, Pieces},
};
use crate::{LlmError, error, weights::gguf_metadata};
use candle_core::quantized::gguf_file::Value;
use prost::Message;
use std::{collections::HashMap, path::Path};

pub fn read(path: &Path) -> Result<Tokenizer, LlmError> {
    if &error::read_start::<4>(path)? == b"GGUF" {
        return of_metadata(&gguf_metadata(path)?, path);
    }
    let bytes = error::read(path)?;
    let wrong = |reason: String| LlmError::content(path, reason);
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match ending {
        "json" => json(path, bytes),
        "model" => {
            let mut tokenizer = Tokenizer::of_pieces(sentencepiece(&bytes).map_err(wrong)?);
            // As it was, with what is not read of it.
            tokenizer.files.retain(|(name, _)| name != "tokenizer.model");
            tokenizer.files.push(("tokenizer.model".into(), bytes));
            Ok(tokenizer)
        }
        "bin" => Ok(Tokenizer::of_pieces(llama2c(&bytes).map_err(wrong)?)),
        _ => Err(wrong("is no tokenizer by its name: .json, .model, .bin and .gguf are read".into())),
    }
}

fn json(path: &Path, bytes: Vec<u8>) -> Result<Tokenizer, LlmError> {
    let inner = tokenizers::Tokenizer::from_bytes(&bytes)
        .map_err(|e| LlmError::content(path, format!("is no tokenizer.json: {e}")))?;
    let mut files = vec![("tokenizer.json".to_string(), bytes)];
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        if let Ok(bytes) = std::fs::read(path.with_file_name(name)) {
            files.push((name.into(), bytes));
        }
    }
    Ok(Tokenizer { inner: Inner::Json(Box::new(inner)), files })
}

/// llama2.c's: the longest token's length, then of each token its score, its length and its bytes.
fn llama2c(bytes: &[u8]) -> Result<Pieces, String> {
    let mut rest = bytes.get(4..).ok_or("is too short for a llama2.c tokenizer")?;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let i = pieces.len();
        let cut = || format!("is no llama2.c tokenizer: token {i} is cut short");
        let (head, tail) = rest.split_at_checked(8).ok_or_else(cut)?;
        let score = f32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (text, tail) = tail.split_at_checked(length).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| format!("token {i} is no UTF-8"))?;
        let kind = match i {
            0 => Kind::Unknown,
            1 | 2 => Kind::Control,
            3..259 => Kind::Byte,
            _ => Kind::Normal,
        };
        // Beginning and end stand there as they are printed.
        let text = match i {
            1 | 2 => text.trim().to_string(),
            _ => text.replace(' ', "▁"),
        };
        pieces.push(Piece { text, score, kind });
        rest = tail;
    }
    Pieces::new(pieces, 1, 2, true, false)
}

/// The same pieces as SentencePiece's own file, which GGUF can be made of; tokenizer.json has no scores.
pub fn to_sentencepiece(pieces: &Pieces) -> Vec<u8> {
    let id = |id: u32| i32::try_from(id).ok();
    SentencePieceModel {
        pieces: pieces
            .pieces()
            .iter()
            .map(|p| SentencePiece {
                piece: Some(p.text.clone()),
                score: Some(p.score),
                kind: Some(p.kind as i32),
            })
            .collect(),
        trainer: Some(Trainer {
            model_type: Some(BPE),
            byte_fallback: Some(true),
            unknown: id(pieces.unknown()),
            bos: id(pieces.bos),
            eos: id(pieces.eos),
        }),
        normalizer: Some(Normalizer {
            name: Some("identity".into()),
            characters: None,
            prefix: Some(pieces.prefix),
            collapse: Some(pieces.collapse),
            escape: Some(true),
        }),
    }
    .encode_to_vec()
}

/// SentencePiece's number for byte-pair encoding.
const BPE: i32 = 2;

#[derive(Message)]
struct SentencePieceModel {
    #[prost(message, repeated, tag = 1)]
    pieces: Vec<SentencePiece>,
    #[prost(message, optional, tag = 2)]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = 3)]
    normalizer: Option<Normalizer>,
}

#[derive(Message)]
struct SentencePiece {
    #[prost(string, optional, tag = 1)]
    piece: Option<String>,
    #[prost(float, optional, tag = 2)]
    score: Option<f32>,
    #[prost(int32, optional, tag = 3)]
    kind: Option<i32>,
}

#[derive(Message)]
struct Trainer {
    #[prost(int32, optional, tag = 3)]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = 35)]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = 40)]
    unknown: Option<i32>,
    #[prost(int32, optional, tag = 41)]
    bos: Option<i32>,
    #[prost(int32, optional, tag = 42)]
    eos: Option<i32>,
}

#[derive(Message)]
struct Normalizer {
    #[prost(string, optional, tag = 1)]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = 2)]
    characters: Option<Vec<u8>>,
    #[prost(bool, optional, tag = 3)]
    prefix: Option<bool>,
    #[prost(bool, optional, tag = 4)]
    collapse: Option<bool>,
    #[prost(bool, optional, tag = 5)]
    escape: Option<bool>,
}

/// SentencePiece's own format, of the kind that LLaMA uses: BPE without a normalisation of characters.
fn sentencepiece(bytes: &[u8]) -> Result<Pieces, String> {
    let model = SentencePieceModel::decode(bytes).map_err(|e| format!("is no SentencePiece model: {e}"))?;
    let trainer = model.trainer.unwrap_or_default();
    let normalizer = model.normalizer.unwrap_or_default();
    if trainer.model_type.unwrap_or(1) != BPE {
        return Err("is a SentencePiece model of another type than BPE, which is not supported".into());
    }
    if normalizer.characters.is_some_and(|c| !c.is_empty()) {
        return Err("normalises characters (precompiled_charsmap), which is not supported".into());
    }
    let mut pieces = Vec::with_capacity(model.pieces.len());
    for (i, piece) in model.pieces.into_iter().enumerate() {
        let number = piece.kind.unwrap_or(1);
        let kind =
            Kind::of_number(number.into()).ok_or_else(|| format!("token {i} is of unknown type {number}"))?;
        pieces.push(Piece { text: piece.piece.unwrap_or_default(), score: piece.score.unwrap_or(0.0), kind });
    }
    let id = |id: Option<i32>, usual: i32, what: &str| {
        u32::try_from(id.unwrap_or(usual)).map_err(|_| format!("it has no token for the {what} of a text"))
    };
    let (bos, eos) = (id(trainer.bos, 1, "beginning")?, id(trainer.eos, 2, "end")?);
    Pieces::new(pieces, bos, eos, normalizer.prefix.unwrap_or(true), normalizer.collapse.unwrap_or(true))
}

/// What a GGUF file says of its tokenizer.
pub fn of_metadata(metadata: &HashMap<String, Value>, path: &Path) -> Result<Tokenizer, LlmError> {
    let wrong = |reason: String| LlmError::content(path, reason);
    let get = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}"));
    let said = |key: &str| get(key).and_then(|v| v.to_string().ok()).map(String::as_str);
    let list = |key: &str| match get(key) {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(wrong(format!("`tokenizer.ggml.{key}` is missing"))),
    };
    let (texts, kinds) = match said("model") {
        Some("llama" | "gpt2") => (list("tokens")?, list("token_type")?),
        Some(other) => {
            return Err(wrong(format!(
                "its tokenizer is of type `{other}`; `llama` and `gpt2` are read: give tokenizer.json"
            )));
        }
        None => return Err(wrong("has no tokenizer".into())),
    };
    let mut tokens = Vec::with_capacity(texts.len());
    for (i, (text, kind)) in texts.iter().zip(kinds).enumerate() {
        let (Ok(text), Ok(kind)) = (text.to_string(), kind.to_i32()) else {
            return Err(wrong(format!("token {i} is not a text with a type")));
        };
        let kind = Kind::of_number(kind.into())
            .ok_or_else(|| wrong(format!("token {i} is of unknown type {kind}")))?;
        tokens.push((text.clone(), kind));
    }
    if tokens.len() != texts.len() {
        return Err(wrong("its tokens and types are not equally many".into()));
    }
    if said("model") == Some("gpt2") {
        let merges = list("merges")?.iter().map(|merge| merge.to_string().cloned());
        let merges = merges.collect::<Result<_, _>>().map_err(|_| wrong("a merge is no text".into()))?;
        let merges = Merges::of_parts(tokens, merges, said("pre").unwrap_or("gpt-2")).map_err(wrong)?;
        return json(path, merges.to_json().to_string().into_bytes());
    }
    let scores = list("scores")?;
    if tokens.len() != scores.len() {
        return Err(wrong("its tokens and scores are not equally many".into()));
    }
    let piece = |(i, ((text, kind), score)): (usize, ((String, Kind), &Value))| {
        let score = score.to_f32().map_err(|_| wrong(format!("the score of token {i} is no number")))?;
        Ok(Piece { text, score, kind })
    };
    let pieces = tokens.into_iter().zip(scores).enumerate().map(piece).collect::<Result<_, LlmError>>()?;
    let id = |key: &str, usual: u32| get(key).and_then(|v| v.to_u32().ok()).unwrap_or(usual);
    let prefix = get("add_space_prefix").and_then(|v| v.to_bool().ok()).unwrap_or(true);
    let pieces = Pieces::new(pieces, id("bos_token_id", 1), id("eos_token_id", 2), prefix, false);
    Ok(Tokenizer::of_pieces(pieces.map_err(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_from_sentencepieces_file() {
        let pieces = crate::tokenizer::learn::learned("the cat sat on the mat", 300).unwrap();
        let again = sentencepiece(&to_sentencepiece(&pieces)).unwrap();
        assert_eq!((again.len(), again.bos, again.eos, again.prefix), (pieces.len(), 1, 2, true));
        for text in ["the cat", "a hat", "é"] {
            assert_eq!(again.encode(text), pieces.encode(text));
        }
    }

    #[test]
    fn a_sentencepiece_model_is_read_and_others_are_refused() {
        let piece = |text: &str, kind| SentencePiece { piece: Some(text.into()), score: Some(-1.0), kind };
        let model = |model_type, characters: &[u8]| SentencePieceModel {
            pieces: vec![
                piece("<unk>", Some(2)),
                piece("<s>", Some(3)),
                piece("</s>", Some(3)),
                piece("▁a", None),
            ],
            trainer: Some(Trainer { model_type: Some(model_type), ..Trainer::default() }),
            normalizer: Some(Normalizer {
                characters: Some(characters.into()),
                prefix: None,
                collapse: Some(false),
                ..Normalizer::default()
            }),
        };
        let read = sentencepiece(&model(2, b"").encode_to_vec()).unwrap();
        assert_eq!((read.len(), read.encode("a")), (4, vec![3]));
        assert!(sentencepiece(&model(1, b"").encode_to_vec()).unwrap_err().contains("BPE"));
        assert!(sentencepiece(&model(2, b"x").encode_to_vec()).unwrap_err().contains("charsmap"));
        assert!(sentencepiece(b"\xff\xff").is_err());
        assert!(llama2c(b"\0\0\0\0\0\0\0\0\xff\0\0\0a").is_err());
        assert!(llama2c(b"").is_err());
    }
}
