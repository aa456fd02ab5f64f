//! Log lines for machines.

use super::{free_address, setup};
use crate::harness::{Process, SOON, failure};
use serde_json::Value;

/// The fields of the next line with this message.
fn fields(process: &mut Process, message: &str) -> Value {
    let line = process.wait_for(&[&format!("\"message\":\"{message}\"")], SOON);
    let mut line: Value = serde_json::from_str(&line).unwrap();
    line["fields"].take()
}

#[test]
fn json_lines_carry_numbers_as_fields_and_names_without_quotes_of_their_own() {
    let setup = setup();
    let address = free_address();
    let learner = ["learner", "--config", "quick.toml", "--run-dir", "out", "--listen", &address];
    let mut learner = setup.command(&learner);
    learner.env("SRNAS_LOG_FORMAT", "json");
    let mut learner = Process::start(learner);
    fields(&mut learner, "learner listens for actors");
    let mut actor = setup.actor_command(&format!("http://{address}"), "a", &[]);
    actor.env("SRNAS_LOG_FORMAT", "json");
    let mut actor = Process::start(actor);
    let joined = fields(&mut learner, "actor joined");
    assert_eq!((&joined["actor"], &joined["live"]), (&"a".into(), &1.into()));
    assert!(joined["software"].as_str().unwrap().starts_with("srnas "), "{joined}");
    // Each says how it goes, every ten seconds.
    let of_actor = fields(&mut actor, "progress");
    assert!(of_actor["environment_steps"].as_u64().unwrap() > 0, "{of_actor}");
    assert!(of_actor["environment_steps_per_s"].as_f64().unwrap() > 0.0, "{of_actor}");
    let of_learner = fields(&mut learner, "progress");
    for number in ["done", "actors", "environment_steps", "updates_per_s", "replay", "measurements"] {
        assert!(of_learner[number].is_number(), "{number} in {of_learner}");
    }
    assert!(of_learner["limit"].as_str().is_some(), "{of_learner}");
    // A variable that is set and empty says nothing.
    let mut wrong = setup.command(&["space", "check", "nosuch"]);
    let (code, said) = failure(&wrong.env("SRNAS_LOG_FORMAT", "").output().unwrap());
    assert!(code == 2 && said.starts_with("error: there is no file nosuch"), "{said}");
}
