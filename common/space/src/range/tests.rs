//! Levels of ranges: what people would write, where they must stand, and what is refused.

use super::{Range, with_values};
use crate::{SearchSpace, read};
use proptest::prelude::*;
use std::fmt::Write;

/// A space of one decision `x` of which the file says this.
fn space(text: &str) -> Result<SearchSpace, String> {
    read(&format!("[[decisions]]\nname = \"x\"\n{text}\n"), "file").map_err(|e| e.to_string())
}

fn levels(text: &str) -> String {
    space(text).unwrap_or_else(|e| panic!("{text}: {e}")).decisions()[0].choices.join(" ")
}

/// These may never change: files of benchmarks and run directories hold ranges.
#[test]
fn levels_are_the_numbers_that_people_write() {
    for (text, expected) in [
        ("range = [1e-4, 1e-1]\nlog = true", "0.0001 0.0003 0.001 0.003 0.01 0.03 0.1"),
        ("range = [1e-3, 1e-1]\nlog = true", "0.001 0.002 0.005 0.01 0.02 0.05 0.1"),
        ("range = [1e-6, 1.0]\nlog = true", "1e-6 0.00001 0.0001 0.001 0.01 0.1 1.0"),
        ("range = [0.01, 0.1]\nlog = true", "0.01 0.02 0.05 0.1"),
        ("range = [1e-4, 1e-1]\nlog = true\nlevels = 4", "0.0001 0.001 0.01 0.1"),
        ("range = [1e-4, 1e-1]\nlog = true\nlevels = 5", "0.0001 0.0006 0.003 0.02 0.1"),
        ("range = [16, 512]\nlog = true", "16 32 64 128 256 512"),
        ("range = [1, 10]\nlog = true", "1 2 5 10"),
        ("range = [1, 10]\nlog = true\nlevels = 8", "1 2 3 4 5 6 8 10"),
        ("range = [1, 1000]\nlog = true", "1 3 10 30 100 300 1000"),
        ("range = [64, 1024]\nlog = true", "64 128 256 512 1024"),
        ("range = [0.0, 1.0]", "0.0 0.2 0.4 0.6 0.8 1.0"),
        ("range = [0.0, 1.0]\nlevels = 9", "0.0 0.125 0.25 0.375 0.5 0.625 0.75 0.875 1.0"),
        ("range = [0.0, 1.0]\nlevels = 8", "0.0 0.14 0.29 0.43 0.57 0.71 0.86 1.0"),
        ("range = [-1.0, 1.0]", "-1.0 -0.6 -0.2 0.2 0.6 1.0"),
        ("range = [-0.0, 1.0]\nlevels = 2", "0.0 1.0"),
        ("range = [0.1, 0.99]", "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.99"),
        ("range = [1, 100]", "1 20 40 60 80 100"),
        ("range = [1, 5]", "1 2 3 4 5"),
        ("range = [16, 256]\nstep = 16", "16 32 48 64 80 96 112 128 144 160 176 192 208 224 240 256"),
        ("range = [0.0, 0.5]\nstep = 0.1", "0.0 0.1 0.2 0.3 0.4 0.5"),
        ("range = [0, 1]\nstep = 0.25", "0.0 0.25 0.5 0.75 1.0"),
        ("range = [-4, 4]\nstep = 2", "-4 -2 0 2 4"),
        ("range = [1.0, 1.0000000000000004]\nlevels = 3", "1.0 1.0000000000000002 1.0000000000000004"),
    ] {
        assert_eq!(levels(text), expected, "{text}");
        assert!(space(text).unwrap().decisions()[0].ordered, "{text}");
    }
    assert!(!space("range = [1, 5]\nordered = false").unwrap().decisions()[0].ordered);
}

#[test]
fn a_range_is_the_list_of_its_levels() {
    let file = |numbers: &str| {
        format!(
            "[[decisions]]\nname = \"lr\"\n{numbers}\n[[decisions]]\nname = \"depth\"\nrange = [1, 4]\n\
             active_if = {{ lr = [0.001, 0.01] }}\n[[constraints]]\nrequire = \"lr * depth <= 0.01\"\n"
        )
    };
    let range = read(&file("range = [1e-4, 1e-2]\nlog = true\nlevels = 3"), "file").unwrap();
    let listed = read(&file("choices = [1e-4, 1e-3, 1e-2]\nordered = true"), "file").unwrap();
    assert_eq!(range.decisions(), listed.decisions());
    for text in ["lr=0.001,depth=4", "lr=0.01,depth=2", r#"{"lr": 1e-4}"#, "[0.01, 1]"] {
        assert_eq!(range.parse(text), listed.parse(text), "{text}");
    }
    assert!(range.parse("lr=0.01,depth=1").is_ok() && range.parse("lr=0.01,depth=2").is_err());
}

#[test]
fn what_is_no_range_is_refused_with_what_to_do() {
    for (text, says) in [
        (
            "range = [5, 1]",
            "decision `x`: its range is written from 5 to 1; the smaller end comes first: [1, 5]",
        ),
        ("range = [0.5, 0.5]", "both ends of its range are 0.5; one value is written as `choices = [0.5]`"),
        ("range = [nan, 1.0]", "an end of its range is NaN"),
        ("range = [0.0, inf]", "an end of its range is inf; the ends are finite"),
        (
            "range = [0.0, 1.0]\nlog = true",
            "its range begins with 0, and only numbers above 0 have a logarithm",
        ),
        ("range = [-1, 8]\nlog = true", "begins with -1"),
        ("range = [0, 8]\nstep = 0", "`step = 0` leads nowhere"),
        ("range = [0, 8]\nstep = -2", "`step = -2` leads nowhere"),
        ("range = [0, 8]\nstep = nan", "`step = NaN` leads nowhere"),
        ("range = [0, 8]\nstep = 9", "`step = 9` is larger than its range, from 0 to 8"),
        ("range = [0, 8]\nstep = inf", "is larger than its range"),
        (
            "range = [16, 250]\nstep = 16",
            "`step = 16` does not lead from 16 to 250, and both ends are levels; end it with 240 or 256",
        ),
        ("range = [0.0, 1.0]\nstep = 0.3", "end it with 0.9 or 1.2"),
        (
            "range = [0, 1000]\nstep = 1",
            "`step = 1` gives 1001 levels; 2 to 255 are possible: make it larger",
        ),
        ("range = [0.0, 1.0]\nstep = 1e-300", "levels; 2 to 255"),
        ("range = [0, 8]\nlevels = 0", "`levels = 0`; 2 to 255"),
        ("range = [0, 8]\nlevels = 1", "`levels = 1`; 2 to 255"),
        ("range = [0, 8]\nlevels = -1", "`levels = -1`; 2 to 255"),
        ("range = [0, 800]\nlevels = 257", "`levels = 257`; 2 to 255"),
        ("range = [0, 8]\nlevels = 2.5", "`levels = 2.5` is no number of levels"),
        ("range = [0, 8]\nstep = \"one\"", "is no number"),
        ("range = [0, \"8\"]", "is no number"),
        ("range = [0, 8, 16]", "a range has two numbers, as in `range = [1e-4, 1e-1]`, not 3"),
        ("range = 8", "a range has two numbers"),
        ("range = [0, 8]\nchoices = [1, 2]", "it has `choices` and `range`"),
        ("choices = [1, 2]\nlog = true", "`log` belongs to a range"),
        ("choices = [1, 2]\nlevels = 3", "`levels` belongs to a range"),
        ("choices = [1, 2]\nstep = 1", "`step` belongs to a range"),
        ("log = true", "it has neither `choices"),
        ("range = [1, 8]\nlog = true\nstep = 1", "it has `log` and `step`"),
        ("range = [0, 8]\nstep = 1\nlevels = 9", "it has `step` and `levels`"),
        (
            "range = [0, 2]\nlevels = 8",
            "`levels = 8`, but only 3 whole numbers lie from 0 to 2, or write the ends with a point",
        ),
        ("range = [1, 3]\nlog = true\nlevels = 8", "only 3 whole numbers lie from 1 to 3; want fewer levels"),
        (
            "range = [1.0, 1.0000000000000004]\nlevels = 8",
            "are too near to each other for 8 different levels",
        ),
        ("range = [0, 9007199254740993]", "between -2^53 and 2^53"),
    ] {
        let error = space(text).map(|s| panic!("{text}: {:?}", s.decisions())).unwrap_err();
        assert!(error.contains(says) && error.contains("decision `x`: "), "{text}: {error}");
    }
}

#[test]
fn a_value_that_must_be_a_level_takes_the_place_of_one_that_it_nearly_is() {
    let levels = vec![0.0, 1.0, 2.0, 3.0];
    assert_eq!(with_values(levels.clone(), &[1.05]), [0.0, 1.05, 2.0, 3.0]);
    assert_eq!(with_values(levels.clone(), &[1.5, 2.0]), [0.0, 1.0, 1.5, 2.0, 3.0]);
    // Neither an end nor what is named itself gives way.
    assert_eq!(with_values(levels.clone(), &[0.05, 2.95]), [0.0, 0.05, 1.0, 2.0, 2.95, 3.0]);
    assert_eq!(with_values(levels.clone(), &[1.05, 1.0]), [0.0, 1.0, 1.05, 2.0, 3.0]);
    assert_eq!(with_values(levels.clone(), &[-1.0, 3.0, 7.0]), levels);
}

/// Ends of any size, and what stands between them.
fn ranges() -> impl Strategy<Value = Range> {
    let number = || prop_oneof![-1e3..1e3, -1e-6..1e-6, -1e300..1e300, (0..50i32).prop_map(f64::from)];
    let wanted = || prop_oneof![Just(None), (2..=255usize).prop_map(Some)];
    let of = |a: f64, b: f64, log: bool, grid: Option<f64>, levels: Option<usize>| {
        let (a, b) = if log { (a.abs().max(1e-300), b.abs().max(1e-300)) } else { (a, b) };
        Range { from: a.min(b), to: a.max(b), log, grid, levels }
    };
    let real = (number(), number(), any::<bool>(), wanted())
        .prop_map(move |(a, b, log, levels)| of(a, b, log, None, levels));
    let whole = || prop_oneof![-100..100i64, -100_000..100_000i64, -(1i64 << 53)..(1i64 << 53)];
    let wholes = (whole(), whole(), any::<bool>(), wanted()).prop_map(move |(a, b, log, levels)| {
        let a = if log && a == 0 { 1 } else { a };
        let b = if log && b == 0 { 1 } else { b };
        of(a as f64, b as f64, log, Some(1.0), levels)
    });
    prop_oneof![real, wholes]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn levels_ascend_from_end_to_end_and_are_equally_far_apart(range in ranges()) {
        let Ok(levels) = range.levels() else { return Ok(()) };
        let n = levels.len();
        prop_assert!(n >= 2 && range.levels.is_none_or(|wanted| wanted == n));
        prop_assert!(levels[0] == range.from && levels[n - 1] == range.to);
        prop_assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", levels);
        prop_assert!(range.grid.is_none() || levels.iter().all(|level| level.fract() == 0.0));
        let scale = |number: f64| if range.log { number.ln() } else { number };
        let gap = scale(range.to) / (n - 1) as f64 - scale(range.from) / (n - 1) as f64;
        // Whole numbers that are next to each other cannot be spread more evenly.
        let crowded = range.grid.is_some() && range.log && levels[1] - levels[0] < 12.0;
        for (i, &level) in levels.iter().enumerate().filter(|_| !crowded) {
            let share = i as f64 / (n - 1) as f64;
            let place = scale(range.from) * (1.0 - share) + scale(range.to) * share;
            let off = (scale(level) - place).abs();
            // The nearest whole number is half a one off, and in the logarithm less.
            let whole = if range.grid.is_some() && !range.log { 0.5 } else { 0.0 };
            let floats = 1e-9 * place.abs();
            prop_assert!(off <= (0.1001 * gap).max(whole) + floats, "{}: {:?}", i, levels);
        }
    }

    #[test]
    fn what_a_range_gives_is_written_and_read_back(range in ranges()) {
        let mut text = match range.grid {
            Some(_) => format!("range = [{}, {}]\nlog = {}\n", range.from, range.to, range.log),
            None => format!("range = [{:?}, {:?}]\nlog = {}\n", range.from, range.to, range.log),
        };
        if let Some(levels) = range.levels {
            let _ = writeln!(text, "levels = {levels}");
        }
        let read = space(&text);
        prop_assert_eq!(read.is_ok(), range.levels().is_ok(), "{}", text);
        let Ok(space_of_range) = read else { return Ok(()) };
        let decision = &space_of_range.decisions()[0];
        let listed = space(&format!("choices = [{}]\nordered = true", decision.choices.join(", "))).unwrap();
        prop_assert_eq!(&listed.decisions()[0].choices, &decision.choices);
        for choice in 0..decision.choices.len() as u8 {
            let json = serde_json::Value::Object(space_of_range.to_json(&[choice])).to_string();
            for written in [space_of_range.format(&[choice]), json] {
                prop_assert_eq!(space_of_range.parse(&written).unwrap(), vec![choice], "{}", written);
            }
        }
    }

    #[test]
    fn steps_lead_from_end_to_end(from in -1000..1000i32, step in 1..100i32, steps in 1..254i32, tenth in 0..4u32) {
        let unit = 10f64.powi(-(tenth as i32));
        let (from, step, to) = (f64::from(from) * unit, f64::from(step) * unit, f64::from(from + steps * step) * unit);
        let range = Range { from, to, log: false, grid: None, levels: None };
        let levels = range.stepped(step).unwrap();
        prop_assert_eq!(levels.len(), steps as usize + 1);
        prop_assert!(levels[0] == from && levels[levels.len() - 1] == to);
        for pair in levels.windows(2) {
            prop_assert!((pair[1] - pair[0] - step).abs() <= 1e-9 * step.max(to.abs()), "{:?}", levels);
        }
    }
}
