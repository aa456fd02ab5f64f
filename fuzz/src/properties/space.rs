//! Spaces, formulas and architectures.

use srnas_space::{SearchSpace, SpaceError, listed_or_drawn, read, read_configspace};
use std::{collections::BTreeSet, fmt::Write};

/// Spaces of up to so many combinations are looked at whole.
const WHOLE: u64 = 512;

/// A space file of ours.
pub fn toml(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        sound(|| read(text, "file"));
        if let Ok(space) = read(text, "file") {
            listed(&space);
        }
    }
}

/// Decisions are those of a file that lists their choices, whether they were ranges or lists.
fn listed(space: &SearchSpace) {
    let mut file = String::new();
    for d in space.decisions() {
        let word =
            |c: &String| if d.literal { c.clone() } else { toml::Value::String(c.clone()).to_string() };
        let choices: Vec<String> = d.choices.iter().map(word).collect();
        let (name, choices) = (toml::Value::String(d.name.clone()), choices.join(", "));
        let _ =
            writeln!(file, "[[decisions]]\nname = {name}\nordered = {}\nchoices = [{choices}]", d.ordered);
    }
    let again = read(&file, "file").unwrap_or_else(|e| panic!("{e}: {file}"));
    assert_eq!(space.decisions(), again.decisions(), "{file}");
}

/// A ConfigSpace.
pub fn configspace(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        sound(|| read_configspace(text, "file"));
    }
}

/// What is read is the same when it is read again, and its architectures are what a space promises.
fn sound(read: impl Fn() -> Result<SearchSpace, SpaceError>) {
    let (space, again) = match (read(), read()) {
        (Ok(space), Ok(again)) => (space, again),
        (Err(first), Err(second)) => return assert_eq!(first, second),
        _ => panic!("a space is read once and refused once"),
    };
    assert_eq!((space.name(), space.decisions()), (again.name(), again.decisions()));
    assert!(!space.is_empty() && space.valid_share() > 0.0);
    let whole = space.size().is_some_and(|size| size <= WHOLE);
    let (listed, _) = listed_or_drawn(&space, if whole { WHOLE } else { 4 });
    assert!(!listed.is_empty(), "a space has an architecture");
    let mut keys = BTreeSet::new();
    let mut counts = vec![0; space.count_features()];
    for choices in &listed {
        assert!(space.is_valid(choices) && again.is_valid(choices));
        let (key, written) = (space.canonical_key(choices), space.format(choices));
        assert_eq!(key, again.canonical_key(choices));
        keys.insert(key);
        assert_eq!(space.parse(&written).as_ref(), Ok(choices), "{written}");
        let mut active = choices.clone();
        space.activate(&mut active);
        assert!(space.is_valid(&active), "the active form is an architecture");
        assert_eq!(key, space.canonical_key(&active), "the active form is the same architecture");
        space.count_choices(choices, &mut counts);
        let counting = (0..space.len()).filter(|&d| !space.is_inactive(choices, d)).count();
        assert_eq!(space.to_json(choices).len(), counting);
        if space.size().is_some() {
            let mut back = vec![0; space.len()];
            space.unrank(space.rank(choices), &mut back);
            assert_eq!(&back, choices);
        }
    }
    let mut first = listed[0].clone();
    space.for_each_edit(&mut first, |edited, _, _| assert!(again.is_valid(edited)));
    assert_eq!(first, listed[0], "edits leave an architecture as it was");
    assert!(keys.len() <= listed.len());
}

/// A formula over some decisions: alone, in parentheses and joined to itself it allows the same.
pub fn formula(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let allowed = |formula: &str| -> Result<Vec<Vec<u8>>, SpaceError> {
        let mut file = String::from(DECISIONS);
        let _ = write!(file, "[[constraints]]\nrequire = {}\n", toml::Value::String(formula.into()));
        let space = read(&file, "file")?;
        Ok(listed_or_drawn(&space, WHOLE).0)
    };
    let Ok(alone) = allowed(text) else { return };
    // As deep and long as a formula may be, it may not be wrapped.
    if text.len() > 200 {
        return;
    }
    for wrapped in [format!("({text})"), format!("({text}) && ({text})"), format!("({text}) || ({text})")] {
        assert_eq!(allowed(&wrapped).as_ref(), Ok(&alone), "{wrapped}");
    }
}

/// 324 combinations, all values that formulas stumble over.
const DECISIONS: &str = r#"
[[decisions]]
name = "a"
choices = [0, 1, 2]
[[decisions]]
name = "b"
choices = [-3, 2, 9223372036854775807]
[[decisions]]
name = "x"
choices = [0.5, 2.0, 1e300]
[[decisions]]
name = "t"
choices = [true, false]
[[decisions]]
name = "op"
choices = ["conv", "pool", "skip"]
[[decisions]]
name = "layer.1"
choices = [1, 2]
"#;
