//! Whole architectures in one column: the pattern that all of its texts follow.

use std::{collections::BTreeSet, fmt::Write};

/// Most words at one place of a pattern.
const MOST_WORDS: usize = 16;

/// A pattern and, by decision, its words in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub pattern: String,
    pub decisions: Vec<(String, Vec<String>)>,
}

/// A pattern of as many one-digit decisions as all texts have digits.
pub(super) fn digits(distinct: &BTreeSet<&str>) -> Option<Written> {
    let length = distinct.first()?.len();
    let fit = |text: &&str| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    // Numbers of one length do not begin with 0.
    if length < 2 || !distinct.iter().all(fit) || !distinct.iter().any(|text| text.starts_with('0')) {
        return None;
    }
    let at = |i: usize| -> BTreeSet<String> { distinct.iter().map(|text| text[i..=i].to_string()).collect() };
    written((0..length).map(|i| Piece::Word(at(i))).collect())
}

enum Piece {
    Text(String),
    Word(BTreeSet<String>),
}

/// A pattern of the words that vary between texts of the same punctuation.
pub(super) fn skeleton(distinct: &BTreeSet<&str>) -> Option<Written> {
    let split = |text: &str| -> (Vec<String>, Vec<String>) {
        let (mut words, mut between, mut word, mut rest) = (vec![], vec![], String::new(), String::new());
        for c in text.chars() {
            if c.is_alphanumeric() || c == '_' || c == '.' {
                if word.is_empty() {
                    between.push(std::mem::take(&mut rest));
                }
                word.push(c);
            } else {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                rest.push(c);
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        between.push(rest);
        (words, between)
    };
    let mut all = distinct.iter().map(|text| split(text));
    let (words, between) = all.next()?;
    let mut seen: Vec<BTreeSet<String>> = words.into_iter().map(|word| BTreeSet::from([word])).collect();
    for (words, other) in all {
        if other != between || words.len() != seen.len() {
            return None;
        }
        seen.iter_mut().zip(words).for_each(|(seen, word)| {
            seen.insert(word);
        });
    }
    let mut pieces = Vec::new();
    for (text, word) in between.iter().zip(seen) {
        pieces.push(Piece::Text(text.clone()));
        pieces.push(if word.len() == 1 { Piece::Text(word.into_iter().next()?) } else { Piece::Word(word) });
    }
    pieces.push(Piece::Text(between.last()?.clone()));
    written(pieces)
}

/// The pattern of pieces, if what varies has few words each.
fn written(pieces: Vec<Piece>) -> Option<Written> {
    let (mut pattern, mut decisions) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            // A brace that is text is doubled.
            Piece::Text(text) => pattern.push_str(&text.replace('{', "{{").replace('}', "}}")),
            // One word is no decision.
            Piece::Word(words) if words.len() == 1 => pattern.extend(words),
            Piece::Word(words) if words.len() <= MOST_WORDS => {
                let name = format!("d{}", decisions.len() + 1);
                let _ = write!(pattern, "{{{name}}}");
                decisions.push((name, words.into_iter().collect()));
            }
            Piece::Word(_) => return None,
        }
    }
    (decisions.len() > 1).then_some(Written { pattern, decisions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_between_the_same_signs_is_a_decision() {
        let of = |texts: &[&str]| skeleton(&texts.iter().copied().collect());
        let cells = of(&["|none~0|+|skip~0|", "|conv~0|+|skip~0|", "|conv~0|+|none~0|"]).unwrap();
        assert_eq!(cells.pattern, "|{d1}~0|+|{d2}~0|");
        assert_eq!(cells.decisions[0], ("d1".to_string(), vec!["conv".to_string(), "none".into()]));
        let braces = of(&["{a: 1, b: x}", "{a: 2, b: y}"]).unwrap();
        assert_eq!(braces.pattern, "{{a: {d1}, b: {d2}}}");
        assert_eq!(of(&["a+b", "a-b"]), None);
        assert_eq!(of(&["a+b", "a+c"]), None, "one decision is a column of its own");
        let digits = digits(&["012", "112", "002"].into_iter().collect()).unwrap();
        assert_eq!(digits.pattern, "{d1}{d2}2", "a place that never varies is text");
    }
}
