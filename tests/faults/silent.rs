//! Sockets that say nothing, more of them than there are places, while the learner has few file descriptors.

use super::{free_address, setup};
use crate::harness::{Process, SOON, stdout};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

/// Status of an answer to a GET.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_string)
}

#[test]
fn silent_sockets_keep_nobody_out_and_no_checkpoint_from_being_written() {
    let setup = setup();
    let (address, http) = (free_address(), free_address());
    let command = setup.command(&[]);
    let program = command.get_program().to_string_lossy().into_owned();
    let limited = format!(
        "ulimit -n 64; exec {program} learner --config quick.toml --run-dir out --listen {address} --http {http}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited]).current_dir(setup.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let piped = std::process::Stdio::piped;
    shell.stdin(std::process::Stdio::null()).stdout(piped()).stderr(piped());
    let mut learner = Process::start(shell);
    learner.wait_for(&["learner listens for actors"], SOON);
    let actor = setup.actor(&address, "a");
    let mut silent: Vec<TcpStream> = Vec::new();
    for round in 0..5 {
        for _ in 0..60 {
            silent.extend(TcpStream::connect(&address));
            silent.extend(TcpStream::connect(&http));
        }
        let status = setup.output(&["status", "--learner", &address, "--json"]);
        assert!(stdout(&status).contains("\"run\":\"out\""), "round {round}");
        assert_eq!(get(&http, "/healthz").as_deref(), Some("200"), "round {round}");
    }
    let path = stdout(&setup.output(&["checkpoint", "--learner", &address]));
    assert!(setup.path().join(path.trim()).is_dir(), "{path}");
    learner.wait_for(&["a peer is turned away", "others came while it said nothing"], SOON);
    // One that has said nothing is cut in the end.
    let last = silent.last_mut().unwrap();
    last.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0);
    drop(silent);
    drop(actor);
    learner.signal("-TERM");
    assert_eq!(learner.ends(SOON), Some(0));
    // It fills no log: a line a minute for each of a handful of reasons.
    std::thread::sleep(Duration::from_millis(100));
    let told = learner.seen.iter().filter(|line| line.contains("turned away")).count();
    assert!(told <= 12, "{told} lines:\n{}", learner.seen.join("\n"));
}
