//! What is suggested of whole tables: what people export, and what nobody would.

use super::*;
use crate::importers::table::import;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

/// Suggests of a text, writes what is suggested, and imports by it. What was suggested.
fn round_trip(file: &str, text: &str) -> Result<Suggestion, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(file);
    fs::write(&path, text).unwrap();
    let suggestion = suggest(&path).map_err(|e| e.to_string())?;
    let descriptor = folder.path().join("d.toml");
    fs::write(&descriptor, &suggestion.descriptor).unwrap();
    fs::write(folder.path().join(&suggestion.space_file), &suggestion.space).unwrap();
    let broken = |what: &dyn std::fmt::Display| -> ! {
        panic!("{what}\n{text}\n{}\n{}", suggestion.descriptor, suggestion.space)
    };
    let read = Descriptor::read(&descriptor).unwrap_or_else(|e| broken(&e));
    let imported = import(&path, &read, folder.path()).unwrap_or_else(|e| broken(&e));
    let written = imported.benchmark.write_new(&folder.path().join("b.safetensors"));
    written.unwrap_or_else(|e| broken(&e));
    Ok(suggestion)
}

/// The lines of the entry that has this column.
fn metric<'s>(suggestion: &'s Suggestion, column: &str) -> &'s str {
    let place = format!("column = \"{column}\"\n");
    let mut entries = suggestion.descriptor.split("[[metrics]]").skip(1);
    entries
        .find(|entry| entry.contains(&place))
        .unwrap_or_else(|| panic!("no metric {column}:\n{}", suggestion.descriptor))
}

fn is_decision(suggestion: &Suggestion, name: &str) -> bool {
    suggestion.space.lines().any(|line| line.starts_with(&format!("name = \"{name}\"")))
}

fn is_left_out(suggestion: &Suggestion, column: &str) -> bool {
    suggestion.left_out.iter().any(|(name, _)| name == column)
        && suggestion.descriptor.contains(&format!("#   \"{column}\": "))
}

/// A table of 24 rows, its cells by the number of the row.
fn table(columns: &[(&str, &dyn Fn(usize) -> String)]) -> String {
    let mut text = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",") + "\n";
    for row in 0..24 {
        text += &(columns.iter().map(|(_, cell)| cell(row)).collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

fn op(row: usize) -> String {
    ["conv", "pool", "skip"][row % 3].into()
}

fn depth(row: usize) -> String {
    (row / 3 + 1).to_string()
}

fn number(low: f64, step: f64) -> impl Fn(usize) -> String {
    move |row| format!("{:.4}", low + step * ((row * 7) % 24) as f64)
}

#[test]
fn an_export_of_optuna_is_known() {
    let date = |row: usize| format!("2024-01-02 10:{:02}:12.345678", row);
    let rows = table(&[
        ("", &|row| row.to_string()),
        ("number", &|row| row.to_string()),
        ("value", &number(0.1, 0.01)),
        ("datetime_start", &date),
        ("datetime_complete", &date),
        ("duration", &|row| format!("0 days 00:00:{:02}.5", row)),
        ("params_depth", &depth),
        ("params_lr", &|row| format!("{:e}", 1e-5 * (row + 1) as f64)),
        ("params_op", &op),
        // It counts for convolutions alone.
        ("params_width", &|row| {
            if row.is_multiple_of(3) { (8 * (row % 2 + 1)).to_string() } else { String::new() }
        }),
        ("user_attrs_acc", &number(80.0, 0.5)),
        ("user_attrs_host", &|row| format!("node{row}")),
        ("state", &|row| if row == 5 { "PRUNED" } else { "COMPLETE" }.into()),
    ]);
    let found = round_trip("trials.csv", &rows).unwrap();
    assert!(found.descriptor.contains("an export of Optuna"), "{}", found.descriptor);
    assert!(found.descriptor.contains("only = { state = \"COMPLETE\" }"), "{}", found.descriptor);
    for decision in ["depth", "lr", "op", "width"] {
        assert!(is_decision(&found, decision), "{decision}: {}", found.space);
    }
    assert!(found.space.contains("active_if = { op = [\"conv\"] }  # check"), "{}", found.space);
    assert!(metric(&found, "value").contains("direction = \"minimise\"  # check"), "{}", found.descriptor);
    assert!(metric(&found, "user_attrs_acc").contains("unit = \"%\"\ndirection = \"maximise\"\n"));
    for column in ["number", "datetime_start", "datetime_complete", "duration", "user_attrs_host", "state"] {
        assert!(is_left_out(&found, column), "{column}: {:?}", found.left_out);
    }
    assert_eq!(found.descriptor.matches("[[metrics]]").count(), 2, "{}", found.descriptor);
}

#[test]
fn exports_of_others_are_known() {
    let acc = number(0.5, 0.01);
    let word = |text: &'static str| move |_: usize| text.to_string();
    let state = |well: &'static str| move |row: usize| if row == 3 { "crashed" } else { well }.to_string();
    let wandb = table(&[
        ("Name", &|row| format!("deep-sun-{row}")),
        ("State", &state("finished")),
        ("Notes", &word("-")),
        ("User", &word("me")),
        ("Tags", &word("")),
        ("Created", &|row| format!("2024-01-02T10:11:{:02}.000Z", row)),
        ("Runtime", &|row| (100 + row).to_string()),
        ("Sweep", &word("s1")),
        ("op", &op),
        ("depth", &depth),
        ("val_acc", &acc),
    ]);
    let mlflow = table(&[
        ("run_id", &|row| format!("ab{row:030}")),
        ("experiment_id", &word("0")),
        ("status", &state("FINISHED")),
        ("artifact_uri", &|row| format!("mlruns/0/{row}/artifacts")),
        ("start_time", &|row| format!("2024-01-02 10:11:{:02}+00:00", row)),
        ("metrics.val_acc", &acc),
        ("params.op", &op),
        ("params.depth", &depth),
        ("tags.mlflow.user", &word("me")),
    ]);
    let board =
        table(&[("op", &op), ("depth", &|row| format!("{}.0", depth(row))), ("hparam/val_acc", &acc)]);
    for (file, text, column, out) in [
        ("wandb.csv", &wandb, "val_acc", &["Name", "State", "User", "Created", "Runtime", "Sweep"][..]),
        (
            "runs.csv",
            &mlflow,
            "metrics.val_acc",
            &["run_id", "status", "artifact_uri", "start_time", "tags.mlflow.user"],
        ),
        ("hparams_table.csv", &board, "hparam/val_acc", &[]),
    ] {
        let found = round_trip(file, text).unwrap();
        assert!(found.descriptor.contains("# Its columns are those of an export of"), "{}", found.descriptor);
        assert!(is_decision(&found, "op") && is_decision(&found, "depth"), "{file}: {}", found.space);
        assert_eq!(found.space.matches("[[decisions]]").count(), 2, "{file}: {}", found.space);
        assert_eq!(found.descriptor.matches("[[metrics]]").count(), 1, "{file}: {}", found.descriptor);
        assert!(metric(&found, column).contains("direction = \"maximise\"\n"), "{}", found.descriptor);
        out.iter()
            .for_each(|column| assert!(is_left_out(&found, column), "{file} {column}: {:?}", found.left_out));
        assert_eq!(found.descriptor.contains("only = "), !out.is_empty(), "{}", found.descriptor);
    }
}

#[test]
fn a_guess_without_a_mark_is_right() {
    let text = table(&[
        ("op", &op),
        ("depth", &depth),
        ("sentiment_acc", &number(60.0, 1.0)),
        ("lossless_score", &number(0.1, 0.01)),
        ("neg_loss", &number(-3.0, 0.1)),
        ("acc_drop", &number(0.5, 0.1)),
        // Few values, and measured all the same.
        ("latency", &|row| (row % 4 + 1).to_string()),
        ("val", &|row| format!("0.{}", row % 5 + 1)),
        ("train_minutes", &number(5.0, 1.0)),
        ("score", &|row| format!("{}.5", row % 4)),
        ("day", &|row| format!("{:02}.01.2024", row % 4 + 1)),
        ("beta_mark", &|row| format!("0.{}", row % 3 + 1)),
        ("note", &|row| format!("try {row}")),
        ("params_m", &number(1.0, 0.25)),
    ]);
    let found = round_trip("mine.csv", &text).unwrap();
    for (column, way, sure) in [
        ("sentiment_acc", "maximise", false),
        ("lossless_score", "maximise", false),
        ("neg_loss", "maximise", false),
        ("acc_drop", "minimise", false),
        ("latency", "minimise", true),
        ("val", "maximise", false),
        ("train_minutes", "minimise", true),
        ("score", "maximise", false),
        // Fewer are better; the unit is a guess.
        ("params_m", "minimise", true),
    ] {
        let mark = if sure { "\n" } else { "  # check\n" };
        let entry = metric(&found, column);
        assert!(entry.contains(&format!("direction = \"{way}\"{mark}")), "{column}: {entry}");
    }
    assert!(metric(&found, "train_minutes").contains("unit = \"min\"\n"));
    assert!(metric(&found, "latency").contains("unit = \"\"  # check\n"));
    assert!(
        found.space.contains("name = \"op\"\n") && found.space.contains("name = \"depth\"\n"),
        "{}",
        found.space
    );
    // Floats are a decision under a mark only.
    assert!(!found.space.contains("name = \"beta_mark\"\n"), "{}", found.space);
    assert!(is_left_out(&found, "day") && is_left_out(&found, "note"), "{:?}", found.left_out);
}

#[test]
fn what_an_import_would_refuse_is_suggested_otherwise_or_left_out() {
    let acc = number(80.0, 0.5);
    let odd = |row: usize| ["\"a\nb\"", "\"a;b\"", "\"a,b\""][row % 3].to_string();
    let found = round_trip("odd.csv", &table(&[("op", &odd), ("depth", &depth), ("acc", &acc)])).unwrap();
    assert!(found.space.contains("\"a;b\"") && found.space.contains("\"a;b_2\""), "{}", found.space);
    let empty = |row: usize| if row.is_multiple_of(3) { String::new() } else { op(row) };
    let found = round_trip("empty.csv", &table(&[("op", &empty), ("depth", &depth), ("acc", &acc)])).unwrap();
    assert!(
        found.space.contains("\"empty\"") && found.space.contains("# check: some cells are empty"),
        "{}",
        found.space
    );
    // Nine decisions with 200 choices each would be 2^68 combinations.
    let names: Vec<String> = (0..9).map(|d| format!("params_{d}")).collect();
    let mut text = format!("number,state,value,{}\n", names.join(","));
    for row in 0..200 {
        let cells: Vec<String> = (0..9).map(|d| format!("0.{:04}", (row * (d + 3) * 7) % 1000)).collect();
        text += &format!("{row},COMPLETE,{},{}\n", f64::from(row) * 0.37 % 5.0, cells.join(","));
    }
    let found = round_trip("large.csv", &text).unwrap();
    assert!(found.left_out.iter().any(|(_, why)| why.contains("2^64")), "{:?}", found.left_out);
    // Rows of one architecture that differ are seeds, under a mark.
    let found = round_trip(
        "seeds.csv",
        &table(&[("op", &op), ("depth", &|row| (row % 2).to_string()), ("acc", &acc)]),
    );
    assert!(found.unwrap().descriptor.contains("duplicates = \"seeds\"  # check"));
    // One fraction among percentages.
    let stray = |row: usize| if row == 4 { "0.91".into() } else { acc(row) };
    let found = round_trip("stray.csv", &table(&[("op", &op), ("depth", &depth), ("acc", &stray)])).unwrap();
    assert!(found.descriptor.contains("mixed = true  # check"), "{}", found.descriptor);
    // What has another name already.
    for file in ["nb201.csv", "digits.csv", "Surrogates.csv"] {
        let found = round_trip(file, &table(&[("op", &op), ("depth", &depth), ("acc", &acc)])).unwrap();
        assert!(found.descriptor.contains("-table\""), "{}", found.descriptor);
    }
    let nothing =
        round_trip("none.csv", &table(&[("when", &|row| format!("2024-01-{:02}", row + 1)), ("acc", &acc)]));
    let said = nothing.unwrap_err();
    assert!(said.contains("looks like a decision") && said.contains("`when`: dates"), "{said}");
}

/// Names of columns, of which some are taken for something.
const NAMES: &[&str] = &[
    "op",
    "kernel",
    "acc",
    "val_loss",
    "params_op",
    "params_m",
    "state",
    "value",
    "number",
    "name",
    "arch",
    "a b",
    "a_b",
    "größe",
    "время",
    "x=1",
    "k,1",
    "line\nbreak",
    "{op}",
    "\"quoted\"",
    "#",
    "acc_seed1",
    "acc_seed2",
    "latency_ms",
    "time",
    "date",
    "seed",
    "config.lr",
    "metrics.acc",
    "hparam/acc",
    "choices",
    "'",
    "\\",
    "\u{7f}",
    "0",
    "true",
    "Unnamed: 0",
    "epoch",
];

/// Cells of a column, so many, of one kind.
fn cells(rows: usize) -> impl Strategy<Value = Vec<String>> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "a,b",
        "a;b",
        "a\nb",
        "a\r\nb",
        "\"",
        "{x}",
        "nan",
        "None",
        "True",
        "0",
        "00",
        "-0",
        "0.0",
        "1e-5",
        "1E5",
        "1e400",
        "inf",
        "5 %",
        "1,5",
        "1.234,5",
        "1,234",
        "007",
        "é",
        "\\",
        "#",
        "=",
        "x=1",
        "a b",
        "12 s",
        "2024-01-02",
        "9999999999999999999",
        "0.1",
        "0.10",
        "+3",
        "-",
        "?",
        "|a~0|",
        "\u{1}",
    ]);
    let few = (prop::collection::vec(odd.clone(), 1..6), prop::collection::vec(0..6usize, rows))
        .prop_map(|(kinds, at)| at.into_iter().map(|i| kinds[i % kinds.len()].to_string()).collect());
    let words =
        prop::collection::vec(0..5u8, rows).prop_map(|at| at.into_iter().map(|i| format!("w{i}")).collect());
    let whole = prop::collection::vec(-3..9i64, rows).prop_map(|at| at.iter().map(i64::to_string).collect());
    let floats =
        prop::collection::vec(-1e3..1e3f64, rows).prop_map(|at| at.iter().map(f64::to_string).collect());
    let shares = prop::collection::vec(0.0..100f64, rows)
        .prop_map(|at| at.iter().map(|v| format!("{v:.2} %")).collect());
    let commas = prop::collection::vec(0..99_999u32, rows)
        .prop_map(|at| at.iter().map(|v| format!("{},{:02}", v / 100, v % 100)).collect());
    let strings = prop::collection::vec((0..3u8, 0..3u8), rows)
        .prop_map(|at| at.iter().map(|(a, b)| format!("|{a}~0|+|op{b}~1|")).collect());
    let digits =
        prop::collection::vec(0..1000u16, rows).prop_map(|at| at.iter().map(|v| format!("{v:03}")).collect());
    prop_oneof![
        few,
        words,
        whole,
        floats,
        shares,
        commas,
        strings,
        digits,
        prop::collection::vec(odd.prop_map(String::from), rows)
    ]
}

fn made_up() -> impl Strategy<Value = (Vec<&'static str>, Vec<Vec<String>>)> {
    (1..14usize, prop::sample::subsequence(NAMES, 1..8)).prop_flat_map(|(rows, names)| {
        let columns = prop::collection::vec(cells(rows), names.len());
        (Just(names), columns)
    })
}

fn as_csv(names: &[&str], columns: &[Vec<String>], delimiter: u8) -> String {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer.write_record(names).unwrap();
    for row in 0..columns[0].len() {
        writer.write_record(columns.iter().map(|column| &column[row])).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_suggested_of_any_table_can_be_imported((names, columns) in made_up(), delimiter in prop::sample::select(vec![b',', b';', b'\t'])) {
        // Where nothing is suggested, it is said why.
        if let Err(said) = round_trip("made.up.csv", &as_csv(&names, &columns, delimiter)) {
            prop_assert!(!said.is_empty());
        }
    }
}
