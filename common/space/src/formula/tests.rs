//! Formulas against an evaluator of the test's own, and what is refused.

use super::Formula;
use crate::Decision;
use proptest::prelude::*;

/// Choices of `a`, `b` and `c`.
const NUMBERS: [i64; 3] = [0, 1, 2];
/// Choices of `v` and `w`.
const WORDS: [&str; 2] = ["relu", "tanh"];

fn decisions() -> Vec<Decision> {
    let literal = |name: &str, choices: &[&str]| Decision { literal: true, ..Decision::new(name, choices) };
    let mut all: Vec<Decision> = ["a", "b", "c"].iter().map(|name| literal(name, &["0", "1", "2"])).collect();
    all.extend(["t", "u"].map(|name| literal(name, &["false", "true"])));
    all.extend(["v", "w"].map(|name| Decision::new(name, &WORDS)));
    all
}

/// Combinations of choices of all decisions for which a formula holds; of how many.
fn allowed(text: &str) -> (usize, usize) {
    let formula = Formula::read(text, &decisions()).unwrap_or_else(|e| panic!("{e}"));
    let all = combinations();
    (all.iter().filter(|choices| formula.holds(|d| choices[d])).count(), all.len())
}

fn combinations() -> Vec<Vec<u8>> {
    let sizes: Vec<usize> = decisions().iter().map(|d| d.choices.len()).collect();
    let mut all = vec![Vec::new()];
    for size in sizes {
        all = all
            .into_iter()
            .flat_map(|start: Vec<u8>| (0..size as u8).map(move |c| [start.clone(), vec![c]].concat()))
            .collect();
    }
    all
}

#[test]
fn comparisons_bind_stronger_than_and_and_that_stronger_than_or() {
    // Over 3 × 3 × 3 numbers, two truth values each of `t` and `u`, two words each of `v` and `w`.
    let share = |text: &str, truth: usize, of: usize| {
        let (holds, all) = allowed(text);
        assert_eq!(holds * of, truth * all, "{text}: {holds} of {all}");
    };
    share("a != 2 && b != 1", 4, 9);
    share("t && a >= 2", 1, 6);
    share("t || a == 1", 2, 3);
    share("a == 0 || b == 0 && c == 0", 11, 27);
    share("a == 0 or b == 0 and c == 0", 11, 27);
    share("a + b * c == 2 && a < 2", 3, 27);
    share("not a == 1 && t", 1, 3);
    share("!t || u", 3, 4);
    share("t == u", 1, 2);
    share("t != (a > 0) && a < 2", 1, 3);
    share("0 < a <= 2 && 2 > b > 0", 2, 9);
    share("v == \"relu\" && w != 'relu'", 1, 4);
    share("v != w", 1, 2);
    share("-2 ^ 2 == -4 && a == 0", 1, 3);
    share("2 ** 3 ** 2 == 512 && a == 0", 1, 3);
    share("2 ^ -1 * 4 == 2 && a == 0", 1, 3);
    share("7 / 2 == 3 && 7 / 2.0 == 3.5 && a == 0", 1, 3);
    share("8 - 2 - 1 == 5 && 8 / 2 / 2 == 2 && a == 0", 1, 3);
    share("min(a, b, 1) == 1 && max(a, 1) == 2 && abs(a - 3) < 2", 2, 9);
    share("sqrt(a * a) == a && log2(8) == 3 && floor(1.5) + ceil(1.5) + round(1.5) == 5", 1, 1);
    share("9223372036854775807 * 9223372036854775807 > a", 1, 1);
    share("{a} == 1e0 && .5 < b", 2, 9);
    // What stands before guards what stands behind.
    share("a == 0 || 2 / a == 1", 2, 3);
    share("true && a == 0", 1, 3);
}

#[test]
fn numbers_are_read_where_a_number_is_wanted_and_nothing_else() {
    let number = |text: &str, choices: [u8; 7]| {
        let formula = Formula::read_number(text, &decisions()).unwrap_or_else(|e| panic!("{text}: {e}"));
        formula.number(|d| choices[d])
    };
    assert_eq!(number("a * b ^ 2 + c", [1, 2, 2, 0, 0, 0, 0]), 6.0);
    assert_eq!(number("a / 2.0", [1, 0, 0, 0, 0, 0, 0]), 0.5);
    for (text, says) in [
        ("a < b", "true or false, and not a number"),
        ("v", "a word, and not a number"),
        ("3", "names no decision"),
        ("a / b", "right side is 0"),
        ("a * x", "no decision `x`"),
    ] {
        let error = Formula::read_number(text, &decisions()).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!(
        Formula::read("a + b", &decisions()).unwrap_err().contains("a number, and neither true nor false")
    );
}

/// Also between decisions that share some words only, and list them in another order.
#[test]
fn words_of_two_decisions_are_equal_where_they_are_the_same_word() {
    let decisions = [
        Decision::new("a", &["conv", "pool", "skip"]),
        Decision::new("b", &["none", "skip", "conv"]),
        Decision::new("c", &["x", "y"]),
    ];
    let allowed = |text: &str| -> Vec<[u8; 2]> {
        let formula = Formula::read(text, &decisions).unwrap_or_else(|e| panic!("{e}"));
        let all = (0..3u8).flat_map(|a| (0..3u8).map(move |b| [a, b]));
        all.filter(|choices| formula.holds(|d| choices.get(d).copied().unwrap_or(0))).collect()
    };
    assert_eq!(allowed("a == b"), [[0, 2], [2, 1]]);
    assert_eq!(allowed("b == a"), allowed("a == b"));
    assert_eq!(allowed("a != b").len(), 7);
    assert_eq!(allowed("!(a != b) && a != \"conv\""), [[2, 1]]);
    assert!(allowed("a == c").is_empty(), "they share no word");
    for sign in ["<", "<=", ">", ">="] {
        let error = Formula::read(&format!("c == \"x\" && a {sign} b"), &decisions).unwrap_err();
        let place = "at column 15, `a` is a word, which is not less or more than another";
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn what_cannot_be_read_or_computed_is_refused_with_its_place() {
    let said = |text: &str, expected: &[&str]| {
        let error = Formula::read(text, &decisions()).map(|f| panic!("{f:?}")).unwrap_err();
        assert!(error.starts_with(&format!("`{text}`: ")), "{error}");
        assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
    };
    said("a == 1 && v > 2", &["at column 13", "`v` is a word and `2` is a number"]);
    said("v == 1", &["at column 3", "cannot be compared"]);
    said("t + 1 == 2", &["at column 1", "`t` is true or false, and `+` wants numbers"]);
    said("a && t", &["at column 1", "`a` is a number, and `&&` wants what is true or false"]);
    said("a == t", &["cannot be compared"]);
    said("t < u", &["`t` is true or false, which is not less or more"]);
    said("v < w", &["`v` is a word"]);
    said("v == \"rleu\"", &["at column 6", "`v` has no choice \"rleu\"; did you mean `relu`?"]);
    said("v == relu", &["a choice stands in quotes"]);
    said("1 / b > 0", &["at column 3", "`/`: its right side is 0 where b = 0"]);
    said("4 % (a - 1) == 0", &["at column 3", "`%`", "a = 1"]);
    said("sqrt(b - 1) > 0", &["at column 1", "root where b = 0"]);
    said("log2(c) > 0", &["at column 1", "logarithm where c = 0"]);
    said("a ^ (b - 2) > 0", &["at column 3", "negative power"]);
    said("a < b == c", &["at column 7", "two ways"]);
    said("t == u == t", &["at column 8", "two ways"]);
    said("a != b != c", &["two ways"]);
    said("a < b > c", &["two ways"]);
    said("a = 1", &["at column 3", "write `==`"]);
    said("a > 1 & b > 1", &["at column 7", "write `&&`"]);
    said("t | u", &["write `||`"]);
    said("a >", &["at column 4", "it ends where"]);
    said("(a > 1", &["at column 7", "`(` of column 1 is open"]);
    said("a > 1)", &["at column 6", "does not fit"]);
    said("a > 1 b", &["at column 7", "`b` does not fit"]);
    said("a > 1.2.3", &["at column 5", "`1.2.3` is no number"]);
    said("a > 3x", &["`3x` is no number"]);
    said("a + 1", &["it is a number, and neither true nor false"]);
    said("v", &["it is a word"]);
    said("1 < 2", &["names no decision"]);
    said("", &["it ends where"]);
    said("d > 1", &["there is no decision `d`"]);
    said("mim(a, b) > 1", &["there is no function `mim`; did you mean `min`?"]);
    said("min(a) > 1", &["two numbers or more"]);
    said("abs(a, b) > 1", &["one number, not 2"]);
    said("\"relu == v", &["at column 1", "no `\"` at its end"]);
    said("a > 1 && é", &["at column 10", "`é`"]);
    said(&"(".repeat(5000), &["nested deeper"]);
    said(&"!".repeat(5000), &["nested deeper"]);
    said(&format!("a{}", " ".repeat(20_000)), &["10000 characters"]);
}

#[test]
fn names_of_any_kind_can_be_written() {
    let named = |name: &str| [Decision { literal: true, ..Decision::new(name, &["3", "5"]) }];
    for (name, text) in [
        ("kernel-size", "{kernel-size} * 2 < 9"),
        ("E", "E < 4"),
        ("PI", "PI < 4"),
        ("min", "min < 4"),
        ("not", "{not} < 4"),
        ("größe", "größe < 4"),
        ("net:depth", "{net:depth} < 4"),
    ] {
        let formula = Formula::read(text, &named(name)).unwrap();
        assert!(formula.holds(|_| 0) && !formula.holds(|_| 1), "{text}");
    }
    assert!(Formula::read("not < 4", &named("not")).unwrap_err().contains("in braces"));
}

#[test]
fn a_formula_over_too_much_to_try_is_checked_part_by_part() {
    let choices: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
    let many: Vec<Decision> = (0..20)
        .map(|d| Decision { name: format!("d{d}"), choices: choices.clone(), literal: true, ordered: true })
        .collect();
    let sum = (0..20).map(|d| format!("d{d}")).collect::<Vec<_>>().join(" + ");
    assert!(Formula::read(&format!("({sum}) / d3 < 100"), &many).is_ok());
    let error = Formula::read(&format!("({sum}) / (d3 - 7) < 100"), &many).unwrap_err();
    assert!(error.contains("its right side is 0 where d3 = 7"), "{error}");
    let error = Formula::read(&format!("7 / ({sum}) < 100"), &many).unwrap_err();
    assert!(error.contains("at column 3, `/` depends on too many decisions"), "{error}");
}

/// A tree of the test's own. Numbers and truth values are apart, so that each tree has a value.
#[derive(Clone, Debug)]
enum Truth {
    Decision(usize),
    Compare(&'static str, Number, Number),
    Words(&'static str, usize, Word),
    Same(&'static str, Box<Truth>, Box<Truth>),
    Not(Box<Truth>),
    And(Box<Truth>, Box<Truth>),
    Or(Box<Truth>, Box<Truth>),
}

#[derive(Clone, Debug)]
enum Word {
    Decision(usize),
    Choice(usize),
}

#[derive(Clone, Debug)]
enum Number {
    Decision(usize),
    Constant(i64),
    Negative(Box<Number>),
    Operation(char, Box<Number>, Box<Number>),
    Square(Box<Number>),
}

fn numbers() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![(0..3usize).prop_map(Number::Decision), (0..5i64).prop_map(Number::Constant)];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (prop_oneof![Just('+'), Just('-'), Just('*')], inner.clone(), inner.clone())
                .prop_map(|(how, a, b)| Number::Operation(how, a.into(), b.into())),
            // A divisor that is never 0.
            (prop_oneof![Just('/'), Just('%')], inner.clone(), 1..5i64)
                .prop_map(|(how, a, b)| Number::Operation(how, a.into(), Number::Constant(b).into())),
            inner.clone().prop_map(|a| Number::Negative(a.into())),
            inner.prop_map(|a| Number::Square(a.into())),
        ]
    })
}

fn truths() -> impl Strategy<Value = Truth> {
    let signs = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let equal = || prop_oneof![Just("=="), Just("!=")];
    let word = prop_oneof![(0..2usize).prop_map(Word::Decision), (0..2usize).prop_map(Word::Choice)];
    let leaf = prop_oneof![
        (0..2usize).prop_map(Truth::Decision),
        (signs, numbers(), numbers()).prop_map(|(sign, a, b)| Truth::Compare(sign, a, b)),
        (equal(), 0..2usize, word).prop_map(|(sign, a, b)| Truth::Words(sign, a, b)),
    ];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Truth::And(a.into(), b.into())),
            pair.clone().prop_map(|(a, b)| Truth::Or(a.into(), b.into())),
            (equal(), pair).prop_map(|(sign, (a, b))| Truth::Same(sign, a.into(), b.into())),
            inner.prop_map(|a| Truth::Not(a.into())),
        ]
    })
}

/// How strongly a written part binds; parentheses stand where a part binds weaker than its place.
fn bracketed((text, binds): (String, u8), place: u8) -> String {
    if binds < place { format!("({text})") } else { text }
}

impl Number {
    fn write(&self) -> (String, u8) {
        match self {
            Number::Decision(d) => (["a", "b", "c"][*d].into(), 9),
            Number::Constant(n) => (n.to_string(), 9),
            Number::Negative(a) => (format!("-{}", bracketed(a.write(), 7)), 7),
            Number::Operation(how, a, b) => {
                let binds = if matches!(how, '+' | '-') { 5 } else { 6 };
                let (a, b) = (bracketed(a.write(), binds), bracketed(b.write(), binds + 1));
                (format!("{a} {how} {b}"), binds)
            }
            Number::Square(a) => (format!("{} ^ 2", bracketed(a.write(), 9)), 8),
        }
    }

    fn value(&self, choices: &[u8]) -> i128 {
        match self {
            Number::Decision(d) => NUMBERS[usize::from(choices[*d])].into(),
            Number::Constant(n) => (*n).into(),
            Number::Negative(a) => -a.value(choices),
            Number::Square(a) => a.value(choices).pow(2),
            Number::Operation(how, a, b) => {
                let (a, b) = (a.value(choices), b.value(choices));
                match how {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    '/' => a / b,
                    _ => a % b,
                }
            }
        }
    }
}

impl Truth {
    fn write(&self) -> (String, u8) {
        match self {
            Truth::Decision(d) => (["t", "u"][*d].into(), 9),
            Truth::Compare(sign, a, b) => {
                (format!("{} {sign} {}", bracketed(a.write(), 5), bracketed(b.write(), 5)), 4)
            }
            Truth::Words(sign, a, b) => {
                let name = |d: usize| ["v", "w"][d].to_string();
                let b = match b {
                    Word::Decision(d) => name(*d),
                    Word::Choice(c) => format!("\"{}\"", WORDS[*c]),
                };
                (format!("{} {sign} {b}", name(*a)), 4)
            }
            Truth::Same(sign, a, b) => {
                (format!("{} {sign} {}", bracketed(a.write(), 5), bracketed(b.write(), 5)), 4)
            }
            Truth::Not(a) => (format!("!{}", bracketed(a.write(), 7)), 7),
            Truth::And(a, b) => (format!("{} && {}", bracketed(a.write(), 2), bracketed(b.write(), 3)), 2),
            Truth::Or(a, b) => (format!("{} || {}", bracketed(a.write(), 1), bracketed(b.write(), 2)), 1),
        }
    }

    fn value(&self, choices: &[u8]) -> bool {
        match self {
            Truth::Decision(d) => choices[3 + d] == 1,
            Truth::Words(sign, a, b) => {
                let b = match b {
                    Word::Decision(d) => choices[5 + d],
                    Word::Choice(c) => *c as u8,
                };
                (choices[5 + a] == b) == (*sign == "==")
            }
            Truth::Compare(sign, a, b) => {
                let (a, b) = (a.value(choices), b.value(choices));
                match *sign {
                    "==" => a == b,
                    "!=" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                }
            }
            Truth::Same(sign, a, b) => (a.value(choices) == b.value(choices)) == (*sign == "=="),
            Truth::Not(a) => !a.value(choices),
            Truth::And(a, b) => a.value(choices) && b.value(choices),
            Truth::Or(a, b) => a.value(choices) || b.value(choices),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_formula_says_what_its_tree_says(tree in truths()) {
        let text = tree.write().0;
        match Formula::read(&text, &decisions()) {
            Err(error) => prop_assert!(error.contains("names no decision"), "{}", error),
            Ok(formula) => {
                for choices in combinations() {
                    prop_assert_eq!(formula.holds(|d| choices[d]), tree.value(&choices), "{} {:?}", text, choices);
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[abtv0-9 ().+*/%^<>=!&|\"'{},x-]{0,40}") {
        let _ = Formula::read(&text, &decisions());
    }
}
