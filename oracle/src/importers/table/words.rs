//! The words that a table has for the choices of a space: their names, and what the descriptor says they are called.

use super::descriptor::Renamed;
use srnas_basics::names;
use srnas_space::{Decision, SearchSpace};
use std::collections::BTreeMap;

/// By decision: each word with the choice that it is for. A word that the descriptor gives means that and nothing else; what it
/// gives for one decision goes before what it gives for all.
///
/// # Errors
/// Says which name is no decision or no choice, and which word is the name of a choice that has no other word.
pub(super) fn of(
    space: &SearchSpace,
    renamed: &BTreeMap<String, Renamed>,
) -> Result<Vec<Vec<(String, u8)>>, String> {
    for (word, renamed) in renamed {
        match renamed {
            Renamed::Decision(_) if !space.decisions().iter().any(|d| d.name == *word) => {
                let all = space.decisions().iter().map(|d| d.name.as_str());
                let hint = names::did_you_mean(word, all);
                return Err(format!("names: the space has no decision `{word}`{hint}"));
            }
            Renamed::Choice(choice) if !space.decisions().iter().any(|d| d.choices.contains(choice)) => {
                return Err(format!("names: `{word}` is for `{choice}`, which is a choice of no decision"));
            }
            _ => {}
        }
    }
    space.decisions().iter().map(|decision| of_decision(decision, renamed)).collect()
}

fn of_decision(
    decision: &Decision,
    renamed: &BTreeMap<String, Renamed>,
) -> Result<Vec<(String, u8)>, String> {
    let name = &decision.name;
    let index = |choice: &str| decision.choices.iter().position(|c| c == choice).map(|c| c as u8);
    let mut given: BTreeMap<&str, u8> = BTreeMap::new();
    for (word, renamed) in renamed {
        // A word for all decisions means something only where there is such a choice.
        if let Renamed::Choice(choice) = renamed
            && let Some(choice) = index(choice)
        {
            given.insert(word, choice);
        }
    }
    if let Some(Renamed::Decision(own)) = renamed.get(name) {
        for (word, choice) in own {
            let found = index(choice).ok_or_else(|| {
                let hint = names::did_you_mean(choice, decision.choices.iter().map(String::as_str));
                format!("names: `{choice}` is no choice of `{name}`{hint}")
            })?;
            given.insert(word, found);
        }
    }
    let mut words = Vec::new();
    for (choice, own) in decision.choices.iter().zip(0..) {
        match given.get(choice.as_str()) {
            Some(&other) if other != own && !given.values().any(|&c| c == own) => {
                return Err(format!(
                    "names: in `{name}`, the word `{choice}` can be read in two ways: as the choice `{}`, which `names` says it \
                     is, and as the choice `{choice}`, which has no other word; say there what the table calls `{choice}`",
                    decision.choices[usize::from(other)]
                ));
            }
            Some(_) => {}
            None => words.push((choice.clone(), own)),
        }
    }
    words.extend(given.into_iter().map(|(word, choice)| (word.to_string(), choice)));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space as space;

    fn words(names: &str) -> Result<Vec<Vec<(String, u8)>>, String> {
        let text = "[[decisions]]\nname = \"op\"\nchoices = [\"0\", \"1\", \"skip\"]\n\
                    [[decisions]]\nname = \"depth\"\nchoices = [1, 2]\n";
        of(&space::read(text, "toy").unwrap(), &toml::from_str(names).unwrap())
    }

    fn sorted(words: &[(String, u8)]) -> Vec<(&str, u8)> {
        let mut words: Vec<(&str, u8)> = words.iter().map(|(w, c)| (w.as_str(), *c)).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn a_word_that_is_given_means_that_and_nothing_else() {
        // A table that calls them the other way round; `depth` has no choice 0.
        for names in ["op = { 0 = \"1\", 1 = \"0\" }", "0 = \"1\"\n1 = \"0\""] {
            assert_eq!(sorted(&words(names).unwrap()[0]), [("0", 1), ("1", 0), ("skip", 2)], "{names}");
        }
        let found = words("2 = \"skip\"\nop = { none = \"skip\", 0 = \"0\" }").unwrap();
        assert_eq!(sorted(&found[0]), [("0", 0), ("1", 1), ("2", 2), ("none", 2), ("skip", 2)]);
        assert_eq!(sorted(&found[1]), [("1", 0), ("2", 1)]);
        // What is said of one decision goes before what is said of all.
        let found = words("a = \"0\"\nop = { a = \"1\" }").unwrap();
        assert_eq!(sorted(&found[0]), [("0", 0), ("1", 1), ("a", 1), ("skip", 2)]);
    }

    #[test]
    fn a_choice_that_loses_its_name_needs_another() {
        for names in ["op = { 0 = \"1\" }", "0 = \"1\"", "op = { 0 = \"skip\", 1 = \"skip\" }"] {
            let said = words(names).unwrap_err();
            assert!(said.contains("`op`, the word `0` can be read in two ways: as the choice `"), "{said}");
        }
        assert_eq!(sorted(&words("op = { 0 = \"1\", zero = \"0\" }").unwrap()[0])[..2], [("0", 1), ("1", 1)]);
        assert!(words("op = { 0 = \"2\" }").unwrap_err().contains("no choice of `op`"));
        assert!(words("0 = \"7\"").unwrap_err().contains("a choice of no decision"));
        assert!(words("po = { 0 = \"1\" }").unwrap_err().contains("no decision `po`"));
    }
}
