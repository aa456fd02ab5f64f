//! What a column's name says: unit and direction of a metric, a choice of a network's shape or training, or neither.

use super::vocabulary::*;

/// The way a metric is better, as a name says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Maximise,
    Minimise,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::Maximise => Self::Minimise,
            Self::Minimise => Self::Maximise,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Maximise => "maximise",
            Self::Minimise => "minimise",
        }
    }
}

/// What is guessed of a metric, and whether each part of it is certain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meaning {
    pub unit: &'static str,
    pub unit_sure: bool,
    pub way: Way,
    pub way_sure: bool,
}

/// Words of a column's name, in lower case: what is between signs, and between a small and a capital letter.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let new = !c.is_alphanumeric() || (before.is_lowercase() && c.is_uppercase());
        if new && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there is one").extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A word without the number behind it: `acc1` is `acc`.
fn stem<'w>(word: &'w str, lists: &[&[&str]]) -> &'w str {
    if lists.iter().any(|list| list.contains(&word)) {
        return word;
    }
    word.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Whether a name is of a decision about a network or its training.
pub(super) fn is_hyper(name: &str) -> bool {
    words(name).iter().any(|word| HYPER.contains(&stem(word, &[HYPER])))
}

/// What a name says of a metric with values from `lowest` to `highest`; none where it does not sound like a metric's. `signs`
/// says whether its cells have percent signs.
pub(super) fn meaning(name: &str, lowest: f64, highest: f64, signs: bool) -> Option<Meaning> {
    let words = words(name);
    let lists =
        [SHARES, MORE, WRONG, LOSSES, TIMES, COUNTS, RESOURCES, HARMLESS, MORE_OFTEN, LESS_OFTEN, RESULTS];
    let stems: Vec<&str> = words.iter().map(|word| stem(word, &lists)).collect();
    let has = |list: &[&str]| stems.iter().any(|word| list.contains(word));
    let (shares, wrong) = (has(SHARES), has(WRONG));
    let last = words.last().map_or("", String::as_str);
    let named = UNITS.iter().find(|(word, _)| *word == last).map(|(_, unit)| (*unit, true));
    let named =
        named.or_else(|| UNITS_OFTEN.iter().find(|(word, _)| *word == last).map(|(_, unit)| (*unit, false)));
    let times = has(TIMES) || (named.is_some_and(|(_, sure)| sure) && words.len() > 1);
    let less = wrong || has(LOSSES) || times || has(COUNTS) || has(RESOURCES);
    let more = shares || has(MORE);
    let (way, known) = match (more, less) {
        (true, false) => (Way::Maximise, true),
        (false, true) => (Way::Minimise, true),
        // `acc_loss` may be either.
        (true, true) => (Way::Minimise, false),
        (false, false) if has(MORE_OFTEN) => (Way::Maximise, false),
        (false, false) if has(LESS_OFTEN) => (Way::Minimise, false),
        (false, false) if has(RESULTS) => (Way::Maximise, false),
        (false, false) => return None,
    };
    let turned = stems.iter().filter(|word| TURNING.contains(word)).count() % 2 == 1;
    let plain = |(i, word): (usize, &&str)| {
        let unit = i + 1 == stems.len() && named.is_some();
        let core =
            [SHARES, MORE, WRONG, LOSSES, TIMES, COUNTS, RESOURCES].iter().any(|list| list.contains(word));
        unit || core || HARMLESS.contains(word) || word.is_empty()
    };
    let in_range = lowest >= 0.0 && (!(shares || wrong) || highest <= 100.0);
    let way_sure = known && !has(TURNING) && stems.iter().enumerate().all(plain) && in_range;
    let (unit, unit_sure) = if signs {
        ("%", true)
    } else if shares || wrong {
        match highest {
            h if h > 2.0 => ("%", way_sure),
            // Percentages about 1, or a value a little above 1 that is no share.
            h if h > 1.0 => ("%", false),
            _ => ("", !has(&["pct", "percent"])),
        }
    } else if let Some((unit, sure)) = named {
        (unit, sure && way_sure)
    } else {
        ("", !(times || has(RESOURCES) || has(COUNTS)) && way_sure)
    };
    Some(Meaning { unit, unit_sure, way: if turned { way.other() } else { way }, way_sure })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, lowest: f64, highest: f64) -> Meaning {
        meaning(name, lowest, highest, false).unwrap_or_else(|| panic!("{name} says nothing"))
    }

    #[test]
    fn what_is_sure_is_right() {
        for (name, lowest, highest, unit, way) in [
            ("test_acc", 10.0, 94.0, "%", Way::Maximise),
            ("valAccuracy", 0.1, 0.94, "", Way::Maximise),
            ("top5", 40.0, 99.0, "%", Way::Maximise),
            ("cifar10_val_acc1", 10.0, 94.0, "%", Way::Maximise),
            ("f1_score", 0.2, 0.8, "", Way::Maximise),
            ("val_loss", 0.2, 8.0, "", Way::Minimise),
            ("cross_entropy_loss", 0.2, 8.0, "", Way::Minimise),
            ("test error", 5.0, 90.0, "%", Way::Minimise),
            ("latency_ms", 1.0, 80.0, "ms", Way::Minimise),
            ("train_time_minutes", 1.0, 80.0, "min", Way::Minimise),
            ("train time (s)", 1.0, 80.0, "s", Way::Minimise),
            ("peak_memory_mb", 1.0, 80.0, "MB", Way::Minimise),
        ] {
            let found = of(name, lowest, highest);
            assert_eq!(
                (found.unit, found.way, found.unit_sure, found.way_sure),
                (unit, way, true, true),
                "{name}"
            );
        }
    }

    #[test]
    fn what_may_be_otherwise_is_not_sure_and_guessed_well() {
        for (name, lowest, highest, way) in [
            ("sentiment_acc", 10.0, 94.0, Way::Maximise),
            ("lossless_score", 0.1, 0.9, Way::Maximise),
            ("neg_loss", -3.0, -0.1, Way::Maximise),
            ("neg_mean_squared_error", -3.0, -0.1, Way::Maximise),
            ("acc_drop", 0.1, 5.0, Way::Minimise),
            ("error_reduction", 0.1, 5.0, Way::Maximise),
            ("accuracy_gap", 0.1, 5.0, Way::Minimise),
            ("loss_accuracy", 0.1, 5.0, Way::Minimise),
            ("val", 0.1, 5.0, Way::Maximise),
            ("loss", -9.0, -5.0, Way::Minimise),
            ("acc", 100.0, 9000.0, Way::Maximise),
            ("std_acc", 0.1, 1.0, Way::Maximise),
        ] {
            let found = of(name, lowest, highest);
            assert_eq!((found.way, found.way_sure), (way, false), "{name}");
        }
        for (name, unit) in [
            ("latency", ""),
            ("time", ""),
            ("energy", ""),
            ("train_time_min", "min"),
            ("params_m", "M"),
            ("flops", ""),
        ] {
            let found = of(name, 1.0, 9.0);
            assert_eq!((found.unit, found.unit_sure, found.way), (unit, false, Way::Minimise), "{name}");
        }
        assert_eq!((of("error", 0.2, 1.4).unit, of("error", 0.2, 1.4).unit_sure), ("%", false));
        for nothing in ["sentiment", "timeless", "foo", "kernel", "x1", "mass", "platform"] {
            assert_eq!(meaning(nothing, 0.0, 1.0, false), None, "{nothing}");
        }
    }

    #[test]
    fn names_are_cut_into_words() {
        assert_eq!(words("valAccuracy_top-5 (%)"), ["val", "accuracy", "top", "5"]);
        assert_eq!(words("NASBench"), ["nasbench"]);
        assert!(
            is_hyper("num_layers") && is_hyper("conv1") && is_hyper("learningRate") && !is_hyper("latency")
        );
    }
}
