//! A vocabulary from a text: byte-pair encoding (arXiv 1508.07909).

use super::pieces::{Kind, Piece, Pieces};
use crate::LlmError;
use std::collections::{BTreeMap, BTreeSet};

const SPACE: char = '▁';

/// A vocabulary of `size` tokens for texts like this one: three for the unknown, the beginning and the end, 256 for bytes, the
/// characters of the text, and then the neighbours that stand together most often, joined one pair after the other.
///
/// # Errors
/// A text with more characters than there is room for.
pub fn learned(text: &str, size: usize) -> Result<Pieces, LlmError> {
    let mut words: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for line in text.lines() {
        for word in line.split(' ').filter(|w| !w.is_empty()) {
            let letters = [SPACE].into_iter().chain(word.chars()).map(String::from).collect();
            *words.entry(letters).or_default() += 1;
        }
    }
    let characters: BTreeSet<String> = words.keys().flatten().cloned().collect();
    let fixed = 3 + 256 + characters.len();
    if fixed > size {
        return Err(LlmError::Asked(format!(
            "{size} tokens are too few: the text needs {fixed} for its characters"
        )));
    }
    let mut joined: Vec<String> = Vec::new();
    while fixed + joined.len() < size {
        let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *pairs.entry((&pair[0], &pair[1])).or_default() += count;
            }
        }
        // Of equals the first by letters.
        let best = pairs.into_iter().max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| b.cmp(a)));
        let Some(((left, right), _)) = best else { break };
        let (left, right) = (left.to_string(), right.to_string());
        let pair = format!("{left}{right}");
        words = words
            .into_iter()
            .map(|(word, count)| {
                let mut merged: Vec<String> = Vec::with_capacity(word.len());
                for letters in word {
                    match merged.last_mut() {
                        Some(last) if *last == left && letters == right => *last = pair.clone(),
                        _ => merged.push(letters),
                    }
                }
                (merged, count)
            })
            .collect();
        joined.push(pair);
    }
    let piece = |text: &str, score: f32, kind| Piece { text: text.into(), score, kind };
    let mut pieces = vec![piece("<unk>", 0.0, Kind::Unknown), piece("<s>", 0.0, Kind::Control)];
    pieces.push(piece("</s>", 0.0, Kind::Control));
    pieces.extend((0..=255u8).map(|byte| piece(&format!("<0x{byte:02X}>"), 0.0, Kind::Byte)));
    // What was joined first is joined first.
    pieces.extend(joined.iter().enumerate().map(|(i, text)| piece(text, -(i as f32), Kind::Normal)));
    let last = -(joined.len() as f32);
    pieces.extend(characters.iter().map(|text| piece(text, last, Kind::Normal)));
    Pieces::new(pieces, 1, 2, true, false).map_err(LlmError::Asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_become_tokens_and_every_text_comes_back() {
        let text = "the cat sat on the mat\nthe cat ate the hat\n";
        let pieces = learned(text, 259 + 9 + 1 + 14).unwrap();
        assert!(pieces.pieces().iter().any(|p| p.text == "▁the"));
        assert!(pieces.encode("the cat").len() < 5);
        for text in ["the cat sat", "the dog 🐕 ate"] {
            assert_eq!(pieces.decode(&pieces.encode(text)).trim_start(), text);
        }
        assert!(learned(text, 260).is_err());
        assert!(learned("", 259).is_ok());
    }
}
