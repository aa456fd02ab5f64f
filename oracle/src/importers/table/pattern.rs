//! Patterns: an architecture written in one string, such as `|{a}~0|+|{b}~0|{c}~1|`.

use std::collections::HashMap;

/// A pattern: literal text and decisions in turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Decision(usize),
}

/// The words of each decision, with their choices.
pub(super) type Words = [Vec<(String, u8)>];

/// What a text says: the choices by decision, in the order of the pattern.
type Reading = Vec<(usize, u8)>;

/// Why a text gives no architecture.
#[derive(Debug, PartialEq)]
pub(super) enum Unread {
    /// It is not written so.
    Other,
    /// It can be read in two ways: the choices of each.
    Ambiguous(Vec<(usize, u8)>, Vec<(usize, u8)>),
}

impl Pattern {
    /// Reads a pattern; `decision` finds a decision by its name. `{{` and `}}` stand for braces themselves.
    ///
    /// # Errors
    /// Says which brace or name is wrong, or which decision comes twice.
    pub fn read(text: &str, decision: impl Fn(&str) -> Result<usize, String>) -> Result<Self, String> {
        let (mut parts, mut literal, mut seen) = (Vec::new(), String::new(), Vec::new());
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            literal.push_str(&rest[..brace]);
            let from = &rest[brace..];
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                literal.push_str(&from[..1]);
                rest = after;
                continue;
            }
            if from.starts_with('}') {
                return Err(format!(
                    "`}}` closes nothing in `{text}`; a brace that is text is written `}}}}`"
                ));
            }
            let close = from.find('}').ok_or_else(|| {
                format!("`{{` is not closed in `{text}`; a brace that is text is written `{{{{`")
            })?;
            let name = &from[1..close];
            let found = decision(name)?;
            if seen.contains(&found) {
                return Err(format!("decision `{name}` is in the pattern twice"));
            }
            seen.push(found);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Decision(found));
            rest = &from[close + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// The decisions in it.
    pub fn decisions(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|part| match part {
            Part::Decision(d) => Some(*d),
            Part::Text(_) => None,
        })
    }

    /// The choices that `text` writes: into `choices`, by decision. A word may stand for a choice by several names.
    ///
    /// # Errors
    /// Text that is not written so, or that says two things.
    pub fn parse(&self, text: &str, words: &Words, choices: &mut [u8]) -> Result<(), Unread> {
        let mut known = HashMap::new();
        let mut readings = readings(&self.parts, text, words, &mut known).into_iter();
        // They are built from the end.
        let in_order = |mut reading: Reading| {
            reading.reverse();
            reading
        };
        match (readings.next(), readings.next()) {
            (None, _) => Err(Unread::Other),
            (Some(one), Some(other)) => Err(Unread::Ambiguous(in_order(one), in_order(other))),
            (Some(one), None) => {
                one.into_iter().for_each(|(d, choice)| choices[d] = choice);
                Ok(())
            }
        }
    }
}

/// The first two different ways to read `text` as `parts`, from the last decision to the first. `known` has those of ends that were
/// read before, by the number of parts and of bytes left, so that long texts of short words take no longer than they must.
fn readings(
    parts: &[Part],
    text: &str,
    words: &Words,
    known: &mut HashMap<(usize, usize), Vec<Reading>>,
) -> Vec<Reading> {
    let (d, rest) = match parts.split_first() {
        None if text.is_empty() => return vec![Vec::new()],
        None => return Vec::new(),
        Some((Part::Text(literal), rest)) => {
            return match text.strip_prefix(literal.as_str()) {
                Some(text) => readings(rest, text, words, known),
                None => Vec::new(),
            };
        }
        Some((Part::Decision(d), rest)) => (*d, rest),
    };
    let place = (parts.len(), text.len());
    if let Some(found) = known.get(&place) {
        return found.clone();
    }
    let mut found: Vec<Reading> = Vec::new();
    for (word, choice) in &words[d] {
        let Some(after) = text.strip_prefix(word.as_str()) else { continue };
        for mut reading in readings(rest, after, words, known) {
            reading.push((d, *choice));
            if found.len() < 2 && !found.contains(&reading) {
                found.push(reading);
            }
        }
    }
    known.insert(place, found.clone());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(of: &[&[&str]]) -> Vec<Vec<(String, u8)>> {
        // As the importer has them: longer words first.
        let one = |words: &&[&str]| {
            let mut all: Vec<(String, u8)> = words.iter().zip(0..).map(|(w, c)| (w.to_string(), c)).collect();
            all.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
            all
        };
        of.iter().map(one).collect()
    }

    fn index(name: &str) -> Result<usize, String> {
        name.strip_prefix('e').and_then(|n| n.parse().ok()).ok_or_else(|| format!("no {name}"))
    }

    #[test]
    fn strings_of_words_and_of_digits_are_read() {
        let cell = Pattern::read("|{e0}~0|+|{e1}~0|", index).unwrap();
        let (words_of, mut choices) = (words(&[&["conv", "conv_3x3"], &["none", "skip"]]), [9, 9]);
        assert_eq!(cell.parse("|conv_3x3~0|+|none~0|", &words_of, &mut choices), Ok(()));
        assert_eq!(choices, [1, 0]);
        assert_eq!(cell.parse("|conv_5x5~0|+|none~0|", &words_of, &mut choices), Err(Unread::Other));
        assert_eq!(cell.parse("|conv~0|+|none~0| ", &words_of, &mut choices), Err(Unread::Other));
        let digits = Pattern::read("{e1}{e0}", index).unwrap();
        assert_eq!(digits.parse("21", &words(&[&["0", "1"], &["0", "1", "2"]]), &mut choices), Ok(()));
        assert_eq!((choices, digits.decisions().collect::<Vec<_>>()), ([1, 2], vec![1, 0]));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_with_both() {
        let digits = Pattern::read("{e0}{e1}", index).unwrap();
        let mut choices = [9, 9];
        // 1 and 10, then 0 and 00: "100" is 10·0, or 1·00.
        let two_ways = words(&[&["1", "10"], &["0", "00"]]);
        assert_eq!(
            digits.parse("100", &two_ways, &mut choices),
            Err(Unread::Ambiguous(vec![(0, 1), (1, 0)], vec![(0, 0), (1, 1)]))
        );
        assert_eq!(choices, [9, 9]);
        assert_eq!(digits.parse("10", &two_ways, &mut choices), Ok(()));
        assert_eq!(choices, [0, 0]);
        assert_eq!(digits.parse("1000", &two_ways, &mut choices), Ok(()));
        assert_eq!(choices, [1, 1]);
        // What stands between them makes it plain.
        let apart = Pattern::read("{e0}-{e1}", index).unwrap();
        assert_eq!(apart.parse("10-0", &two_ways, &mut choices), Ok(()));
        assert_eq!(choices, [1, 0]);
        // Two names of one choice are one reading.
        let mut names = two_ways.clone();
        names[1] = vec![("00".into(), 1), ("0".into(), 1)];
        names[0] = vec![("10".into(), 0), ("1".into(), 0)];
        assert_eq!(digits.parse("100", &names, &mut choices), Ok(()));
        assert_eq!(choices, [0, 1]);
    }

    #[test]
    fn long_texts_of_short_words_are_read_or_refused_in_no_time() {
        let names: Vec<String> = (0..60).map(|d| format!("{{e{d}}}")).collect();
        let pattern = Pattern::read(&names.concat(), index).unwrap();
        let words = words(&vec![&["a", "aa", "aaa"][..]; 60]);
        let mut choices = [9; 60];
        assert_eq!(pattern.parse(&"a".repeat(60), &words, &mut choices), Ok(()));
        assert_eq!(choices, [0; 60]);
        assert!(matches!(pattern.parse(&"a".repeat(90), &words, &mut choices), Err(Unread::Ambiguous(..))));
        assert_eq!(pattern.parse(&("a".repeat(90) + "b"), &words, &mut choices), Err(Unread::Other));
    }

    #[test]
    fn braces_that_are_text_are_doubled() {
        let braces = Pattern::read("{{{e0}}},{{}}{e1}", index).unwrap();
        let (words, mut choices) = (words(&[&["x", "y"], &["x", "y"]]), [9, 9]);
        assert_eq!(braces.parse("{y},{}x", &words, &mut choices), Ok(()));
        assert_eq!(choices, [1, 0]);
        assert!(Pattern::read("{e0}}", index).unwrap_err().contains("`}` closes nothing"));
        assert!(Pattern::read("a}{e0}", index).unwrap_err().contains("written `}}`"));
        assert!(Pattern::read("{{e0}{e1", index).unwrap_err().contains("`}` closes nothing"));
    }

    #[test]
    fn what_is_wrong_in_a_pattern_is_said() {
        assert!(Pattern::read("{e0", index).unwrap_err().contains("not closed"));
        assert!(Pattern::read("{x}", index).unwrap_err().contains("no x"));
        assert!(Pattern::read("{e0}{e0}", index).unwrap_err().contains("twice"));
    }
}
