//! What an import refuses, and what it does not overwrite.

use super::{DESCRIPTOR, SPACE, Setup, failure, stdout};
use std::fs;

#[test]
fn what_is_wrong_is_refused_with_file_line_and_column() {
    let setup = Setup::new();
    let head = "layers,w,left,right,acc\n";
    let row = "2,8,größer,größer,95\n";
    for (rows, expected) in [
        ("2,8,größer,größer,high\n", "bad.csv:3: column 5, `acc`: `high` is not a number"),
        ("2,8,größer,größer\n", "bad.csv:3: 4 fields where the header has 5"),
        ("2,9,größer,größer,1\n", "bad.csv:3: column 2, `w`: `9` is no choice of `width`"),
        ("2,,größer,größer,1\n", "bad.csv:3: column 2, `w`: it is empty, and this decision counts"),
        ("2,8,grösser,größer,1\n", "did you mean `größer`?"),
        ("2,8,größer,größer,96\n", "where line 2 has `95` for the same architecture"),
        ("2,16,größer,größer,inf\n", "is not finite"),
        ("2,16,größer,größer,0.96\n", "looks like a fraction among percentages"),
    ] {
        setup.refused(&format!("{head}{row}{rows}"), DESCRIPTOR, expected);
    }
    for (from, to, expected) in [
        ("\"acc\"", "\"acd\"", "has no column `acd`; did you mean `acc`?"),
        ("space.toml", "nowhere.toml", "is no known space"),
        ("width =", "widht =", "no decision `widht`; did you mean `width`?"),
        ("\"d/acc\"", "\"acc\"", "cannot name a metric"),
        ("unit", "units", "unknown field `units`"),
        ("column = \"acc\"\n", "", "needs either `column"),
        ("name = \"d/acc\"", "name = \"d/acc\"\ncolumns = [\"acc\"]", "needs either `column"),
    ] {
        setup.refused(&format!("{head}{row}"), &DESCRIPTOR.replace(from, to), expected);
    }
    setup.refused("", DESCRIPTOR, "is empty");
    setup.refused(head, DESCRIPTOR, "has a header line and no rows below it");
    let (code, said) = failure(&setup.srnas(&["bench", "import", "table", "bad.csv"]));
    assert_eq!((code, said.contains("--suggest")), (2, true), "{said}");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_what_is_renamed_is_found() {
    let setup = Setup::new();
    let space = "[[decisions]]\nname = \"op\"\nchoices = [\"0\", \"1\"]\n";
    setup.write("swap-space.toml", space);
    setup.write("swap.csv", "op,acc\n0,10\n1,20\n");
    let swapped = |names: &str| {
        format!(
            "benchmark = \"swap\"\nspace = \"swap-space.toml\"\n[architecture.names]\nop = {names}\n\
             [[metrics]]\nname = \"d/acc\"\ncolumn = \"acc\"\ndirection = \"maximise\"\n"
        )
    };
    setup.write("swap.toml", swapped("{ 0 = \"1\", 1 = \"0\" }"));
    stdout(&setup.import("swap.csv", "swap.toml"));
    assert!(setup.query("swap", "op=1").contains("10.0000"), "what the table calls 0 is the choice 1");
    assert!(setup.query("swap", "op=0").contains("20.0000"));
    setup.write("swap.toml", swapped("{ 0 = \"1\" }"));
    let (code, said) = failure(&setup.import("swap.csv", "swap.toml"));
    assert!(code == 2 && said.contains("the word `0` can be read in two ways: as the choice `1`"), "{said}");
    setup.write("ab.toml", "[[decisions]]\nname = \"a\"\nchoices = [1, 10]\n[[decisions]]\nname = \"b\"\nchoices = [\"0\", \"00\"]\n");
    setup.write("ab.csv", "arch,acc\n10,1\n100,2\n");
    let whole = |pattern: &str| {
        format!(
            "benchmark = \"ab\"\nspace = \"ab.toml\"\n[architecture]\ncolumn = \"arch\"\npattern = \"{pattern}\"\n\
             [[metrics]]\nname = \"d/acc\"\ncolumn = \"acc\"\ndirection = \"maximise\"\n"
        )
    };
    setup.write("d-ab.toml", whole("{a}{b}"));
    let (_, said) = failure(&setup.import("ab.csv", "d-ab.toml"));
    let ways = ["ab.csv:3: column 1, `arch`: `100` can be read in two ways", "a=10,b=0", "a=1,b=00"];
    assert!(ways.iter().all(|way| said.contains(way)), "{said}");
    // Braces that are text.
    setup.write("ab.csv", "arch,acc\n{1-0},1\n{10-00},2\n");
    setup.write("d-ab.toml", whole("{{{a}-{b}}}"));
    stdout(&setup.import("ab.csv", "d-ab.toml"));
    assert!(setup.query("ab", "a=10,b=00").contains("2.0000"));
}

#[test]
fn nothing_is_overwritten_or_hidden_unasked() {
    let setup = Setup::new();
    setup.write("t.csv", "layers,w,left,right,acc\n1,8,größer,größer,90\n2,8,größer,größer,95\n");
    for name in ["nb201", "control", "digits", "surrogates", "NB201", "Digits"] {
        setup.write("named.toml", DESCRIPTOR.replace("\"toy\"", &format!("\"{name}\"")));
        let import = ["bench", "import", "table", "t.csv", "--descriptor", "named.toml", "--replace"];
        for arguments in [&import[..6], &import] {
            let (code, said) = failure(&setup.srnas(arguments));
            assert!(code == 2 && said.contains("cannot be the name of a table of yours"), "{said}");
        }
    }
    assert!(!setup.path().join("bench").exists());
    stdout(&setup.import("t.csv", "d.toml"));
    let file = setup.path().join("bench/toy.safetensors");
    let before = fs::read(&file).unwrap();
    // The same once more is nothing new.
    let unasked = || setup.srnas(&["bench", "import", "table", "t.csv", "--descriptor", "d.toml"]);
    stdout(&unasked());
    setup.write("t.csv", "layers,w,left,right,acc\n1,8,größer,größer,91\n2,8,größer,größer,95\n");
    let (code, said) = failure(&unasked());
    assert!(
        code == 2 && said.contains("toy.safetensors is there already") && said.contains("--replace"),
        "{said}"
    );
    assert_eq!(fs::read(&file).unwrap(), before);
    stdout(&setup.srnas(&["bench", "import", "table", "t.csv", "--descriptor", "d.toml", "--replace"]));
    assert!(setup.query("toy", "layers=1,width=8,left=größer,right=größer").contains("91.0000"));
    // What lies in an earlier folder hides it, and that is said; what is built in is never hidden.
    fs::write(setup.path().join("bench/digits.safetensors"), &before).unwrap();
    let import = ["bench", "--bench-dir", "first", "import", "table", "t.csv", "--descriptor", "d.toml"];
    let hides = setup.srnas(&import);
    stdout(&hides);
    assert!(String::from_utf8_lossy(&hides.stderr).contains("is hidden by it"), "{hides:?}");
    let listed = stdout(&setup.srnas(&["bench", "--bench-dir", "first", "list"]));
    assert!(listed.contains("bench/toy.safetensors is not used"), "{listed}");
    assert!(listed.contains("digits.safetensors is not used: `digits` is (built in)"), "{listed}");
    let digits = setup.json(&["bench", "info", "digits", "--json"]);
    assert_eq!(digits[0]["path"], "(built in)");
    // Neither is a file that the training of all of it would go to.
    let (code, said) = failure(&setup.srnas(&["bench", "generate", "digits", "--out", "t.csv"]));
    assert!(code == 2 && said.contains("is there already"), "{said}");
    let (code, said) = failure(&setup.srnas(&[
        "bench",
        "import",
        "table",
        "t.csv",
        "--suggest",
        "--descriptor",
        "t-space.toml",
    ]));
    assert!(code == 2 && said.contains("to be the space's file"), "{said}");
    assert!(!setup.path().join("t-space.toml").exists());
}

#[test]
fn what_is_no_table_is_named_and_what_a_row_breaks_is_said() {
    let setup = Setup::new();
    let head = "layers,w,left,right,acc\n";
    let utf16: Vec<u8> = format!("\u{feff}{head}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, says) in [
        (utf16.as_slice(), "it is UTF-16 text; save it as UTF-8"),
        (format!("# by us\n{head}").as_bytes(), "bad.csv:1: `# by us` is a comment before the header"),
        (head.as_bytes(), "has a header line and no rows below it"),
        (
            format!("{head}2,8,größer,\"größer,95\n1,8,größer,größer,90\n").as_bytes(),
            "bad.csv:2: a quote (`\"`) opens here and is never closed",
        ),
        (format!("{head}2,8,größer,größer,\"1,095,000\"\n").as_bytes(), "it is one with `thousands = \",\"`"),
    ] {
        setup.write("bad.csv", bytes);
        let (_, said) = failure(&setup.import("bad.csv", "d.toml"));
        assert!(said.contains(says), "{said}");
    }
    setup.write(
        "grouped.toml",
        DESCRIPTOR.replace("unit = \"%\"", "").replace("space =", "thousands = \",\"\nspace ="),
    );
    stdout(&setup.import("bad.csv", "grouped.toml"));
    assert!(setup.query("toy", "layers=2,width=8,left=größer,right=größer").contains("1095000.0000"));
    // Fractions that are called percentages.
    setup.write("t.csv", format!("{head}1,8,größer,größer,0.90\n2,8,größer,größer,0.95\n"));
    let units = setup.srnas(&["bench", "import", "table", "t.csv", "--descriptor", "d.toml", "--replace"]);
    stdout(&units);
    assert!(
        String::from_utf8_lossy(&units.stderr).contains("is in %, and all its values are between"),
        "{units:?}"
    );
    // Rows that do not count, and a constraint.
    setup.write(
        "t.csv",
        "layers,w,left,right,acc,state\n1,8,größer,größer,90,ok\n2,8,größer,größer,5,failed\n",
    );
    setup.write("only.toml", DESCRIPTOR.replace("space =", "only = { state = \"ok\" }\nspace ="));
    let said = stdout(&setup.srnas(&[
        "bench",
        "import",
        "table",
        "t.csv",
        "--descriptor",
        "only.toml",
        "--replace",
    ]));
    assert!(said.contains("1 rows, 1 left out") && said.contains("1 architectures"), "{said}");
    setup.write("only.toml", DESCRIPTOR.replace("space =", "only = { state = \"OK\" }\nspace ="));
    let (_, said) = failure(&setup.import("t.csv", "only.toml"));
    assert!(said.contains("has `OK`, which `only` asks for; did you mean `ok`?"), "{said}");
    let constraints = "[[constraints]]\nrequire = \"layers * width <= 16\"\n[[constraints]]\nforbid = { layers = 2, left = \"a+b\" }\n";
    setup
        .write("space.toml", format!("{SPACE}{constraints}").replace("interchangeable", "# interchangeable"));
    setup.write("t.csv", format!("{head}2,8,größer,größer,90\n2,16,a+b,größer,91\n"));
    let (_, said) = failure(&setup.import("t.csv", "d.toml"));
    let broken = ["t.csv:3: ", "breaks `require layers * width <= 16`", "`forbid layers = 2, left = a+b`"];
    assert!(broken.iter().all(|part| said.contains(part)), "{said}");
}
