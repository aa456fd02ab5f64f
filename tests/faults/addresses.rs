//! Addresses that lead elsewhere: who was met, who was meant, and where it usually is.

use crate::harness::{Process, SOON, Setup, failure, text};

const SPACE: &str = "[[decisions]]\nname = \"a\"\nchoices = [1, 2, 3, 4, 5, 6]\n";

fn address_in(line: &str) -> String {
    line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_string()
}

#[test]
fn the_wrong_server_is_named_with_the_right_one() {
    let setup = Setup::new();
    std::fs::write(setup.path().join("space.toml"), SPACE).unwrap();
    let learner = ["learner", "--config", "run.toml", "--run-dir", "out"];
    // A name is as good as a number.
    let listens = ["--listen", "localhost:0", "--http", "localhost:0"];
    let mut learner = Process::start(setup.command(&[&learner[..], &listens].concat()));
    let http = address_in(&learner.wait_for(&["HTTP serves"], SOON));
    let learner_at = address_in(&learner.wait_for(&["learner listens for actors"], SOON));
    let search = ["search", "--oracle", "remote", "--space", "space.toml", "--minimise", "loss"];
    let more = ["--run-dir", "s", "--listen", "localhost:0"];
    let mut search = Process::start(setup.command(&[&search[..], &more].concat()));
    let search_at = address_in(&search.wait_for(&["listening for evaluators"], SOON));

    let evaluator = |at: &str| setup.output(&["evaluator", "--search", at, "--oracle", "cmd:true"]);
    let (code, said) = failure(&evaluator(&learner_at));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no search at") && said.contains("a learner answers there"), "{said}");
    assert!(said.contains("--oracle remote` listens on port 7778"), "{said}");
    let actor = ["actor", "--id", "a", "--learner"];
    for command in [&actor[..], &["status", "--learner"], &["best", "--learner"], &["drain", "--learner"]] {
        let (code, said) = failure(&setup.output(&[command, &[search_at.as_str()]].concat()));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("no learner at") && said.contains("a search answers there"), "{said}");
        assert!(said.contains("`srnas learner` listens on port 7777"), "{said}");

        let (code, said) = failure(&setup.output(&[command, &[http.as_str()]].concat()));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("a web server answers there") && said.contains("7777"), "{said}");

        let secure = format!("https://{learner_at}");
        let (code, said) = failure(&setup.output(&[command, &[secure.as_str()]].concat()));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&format!("say http://{learner_at}")), "{said}");
    }
    let (code, said) = failure(&evaluator(&http));
    assert!(code == 1 && said.contains("a web server answers there") && said.contains("7778"), "{said}");

    let doctor = |at: &str| text(&setup.output(&["doctor", "--learner", at]).stdout);
    assert!(doctor(&search_at).contains("a search answers there"), "{}", doctor(&search_at));
    assert!(doctor(&http).contains("a web server answers there"), "{}", doctor(&http));
    assert!(doctor(&learner_at).contains("is reached and serves"), "{}", doctor(&learner_at));
    // The learner says what time it has.
    assert!(doctor(&learner_at).contains("clock          as the learner's"), "{}", doctor(&learner_at));
}

#[test]
fn addresses_that_cannot_be_listened_on_are_explained() {
    let setup = Setup::new();
    let learner = ["learner", "--config", "run.toml", "--run-dir", "out", "--listen"];
    let search = ["search", "--oracle", "remote", "--space", "s.toml", "--minimise", "x", "--listen"];
    for command in [&learner[..], &search, &["doctor", "--listen"], &["run", "--http"]] {
        for (address, part) in [
            ("7777", "127.0.0.1:7777"),
            (":7777", "no host"),
            ("localhost", "no port"),
            ("http://localhost:7777", "a URL"),
            ("no-such-machine.invalid:7777", "leads nowhere"),
        ] {
            let (code, said) = failure(&setup.output(&[command, &[address]].concat()));
            assert!(code == 2 && said.contains(part), "{command:?} {address}: {said}");
        }
    }
    assert!(!setup.path().join("out").exists());
}
