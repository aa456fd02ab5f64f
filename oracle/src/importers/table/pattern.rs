//! Patterns: an architecture written in one string, such as `|{a}~0|+|{b}~0|{c}~1|`.

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

impl Pattern {
    /// Reads a pattern; `decision` finds a decision by its name.
    ///
    /// # Errors
    /// Says which brace or name is wrong, or which decision comes twice.
    pub fn read(text: &str, decision: impl Fn(&str) -> Result<usize, String>) -> Result<Self, String> {
        let (mut parts, mut rest, mut seen) = (Vec::new(), text, Vec::new());
        while let Some(open) = rest.find('{') {
            let close =
                rest[open..].find('}').ok_or_else(|| format!("`{{` is not closed in `{text}`"))? + open;
            if open > 0 {
                parts.push(Part::Text(rest[..open].into()));
            }
            let name = &rest[open + 1..close];
            let found = decision(name)?;
            if seen.contains(&found) {
                return Err(format!("decision `{name}` is in the pattern twice"));
            }
            seen.push(found);
            parts.push(Part::Decision(found));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
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

    /// The choices that `text` writes: into `choices`, by decision. `words` are the words of each decision with their
    /// choices. Whether there is a way to read it, and the first that there is with longer words tried first.
    pub fn parse(&self, text: &str, words: &[Vec<(String, u8)>], choices: &mut [u8]) -> bool {
        fits(&self.parts, text, words, choices)
    }
}

fn fits(parts: &[Part], text: &str, words: &[Vec<(String, u8)>], choices: &mut [u8]) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Text(literal), rest)) => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| fits(rest, text, words, choices))
        }
        Some((Part::Decision(d), rest)) => words[*d].iter().any(|(word, choice)| {
            text.strip_prefix(word.as_str()).is_some_and(|text| {
                choices[*d] = *choice;
                fits(rest, text, words, choices)
            })
        }),
    }
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
        assert!(cell.parse("|conv_3x3~0|+|none~0|", &words_of, &mut choices));
        assert_eq!(choices, [1, 0]);
        assert!(!cell.parse("|conv_5x5~0|+|none~0|", &words_of, &mut choices));
        assert!(!cell.parse("|conv~0|+|none~0| ", &words_of, &mut choices));
        let digits = Pattern::read("{e1}{e0}", index).unwrap();
        assert!(digits.parse("21", &words(&[&["0", "1"], &["0", "1", "2"]]), &mut choices));
        assert_eq!((choices, digits.decisions().collect::<Vec<_>>()), ([1, 2], vec![1, 0]));
    }

    #[test]
    fn words_that_begin_alike_are_told_apart_by_what_follows() {
        let digits = Pattern::read("{e0}{e1}", index).unwrap();
        let mut choices = [9, 9];
        // 1 and 10, then 0 and 00: "100" is 10·0, or 1·00; the longer word first.
        assert!(digits.parse("100", &words(&[&["1", "10"], &["0", "00"]]), &mut choices));
        assert_eq!(choices, [1, 0]);
        assert!(digits.parse("10", &words(&[&["1", "10"], &["0", "00"]]), &mut choices));
        assert_eq!(choices, [0, 0]);
    }

    #[test]
    fn what_is_wrong_in_a_pattern_is_said() {
        assert!(Pattern::read("{e0", index).unwrap_err().contains("not closed"));
        assert!(Pattern::read("{x}", index).unwrap_err().contains("no x"));
        assert!(Pattern::read("{e0}{e0}", index).unwrap_err().contains("twice"));
    }
}
