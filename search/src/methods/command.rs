//! Anybody's method: a program that is asked and told, one JSON object a line (docs/your-own-method.md).

use super::{Begin, Method, MethodError, MethodSpec, Preparation, SpecError, Starter};
use serde::{Deserialize, Serialize};
use srnas_basics::names::did_you_mean;
use srnas_space::{Choices, SearchSpace};
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use wait_timeout::ChildExt;

/// Version of the protocol, in the first line.
const PROTOCOL: u32 = 1;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time for the program to leave after the last line, before it is killed.
const FAREWELL: Duration = Duration::from_millis(500);
/// Longest line that is read.
const LONGEST: u64 = 1 << 20;
/// How much of what the program says on stderr is kept for an error.
const LAST_WORDS: usize = 600;

pub fn prepare(spec: &MethodSpec, _: &Preparation) -> Result<Starter, SpecError> {
    let command = spec.rest().to_string();
    if command.trim().is_empty() {
        return Err(spec.unfit("needs a program: cmd:python3 solver.py"));
    }
    Ok(Box::new(move |begin| Ok(Box::new(Program::start(&command, begin)?))))
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said<'a> {
    Space {
        protocol: u32,
        space: &'a str,
        decisions: Vec<DecisionSaid<'a>>,
        objectives: usize,
        #[serde(skip_serializing_if = "is_nought")]
        limits: usize,
        budget: usize,
        seed: u64,
    },
    Tell {
        architecture: Vec<&'a str>,
        values: &'a [f32],
    },
    Ask,
    End,
}

fn is_nought(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct DecisionSaid<'a> {
    name: &'a str,
    choices: &'a [String],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    architecture: Option<Vec<String>>,
    #[serde(default)]
    done: bool,
}

struct Program {
    space: Arc<SearchSpace>,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    /// The end of what it says on stderr, once it says no more.
    last_words: mpsc::Receiver<String>,
}

impl Program {
    fn start(command: &str, begin: &Begin) -> Result<Self, MethodError> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| MethodError(format!("`{command}` cannot be started: {e}")))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // One line waits at most: the program speaks when it is asked.
        let (sender, lines) = mpsc::sync_channel(1);
        if let Some(stdout) = stdout {
            thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                loop {
                    let mut line = Vec::new();
                    match stdout.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                    if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        return;
                    }
                }
            });
        }
        let (sender, last_words) = mpsc::sync_channel(1);
        if let Some(mut stderr) = stderr {
            thread::spawn(move || {
                let (mut words, mut block) = (Vec::new(), [0; 4096]);
                while let Ok(n @ 1..) = stderr.read(&mut block) {
                    words.extend_from_slice(&block[..n]);
                    let surplus = words.len().saturating_sub(LAST_WORDS);
                    words.drain(..surplus);
                }
                // Nobody may wait for them.
                let _ = sender.send(String::from_utf8_lossy(&words).into_owned());
            });
        }
        let stdin = child.stdin.take();
        let mut program = Self { space: begin.space.clone(), child, stdin, lines, last_words };
        let decisions = begin.space.decisions().iter();
        program.say(&Said::Space {
            protocol: PROTOCOL,
            space: begin.space.name(),
            decisions: decisions.map(|d| DecisionSaid { name: &d.name, choices: &d.choices }).collect(),
            objectives: begin.objectives,
            limits: begin.limits,
            budget: begin.budget,
            // What any language reads as a whole number.
            seed: begin.seed >> 32,
        })?;
        Ok(program)
    }

    fn say(&mut self, said: &Said) -> Result<(), MethodError> {
        let mut line = serde_json::to_string(said).map_err(|e| MethodError(e.to_string()))?;
        line.push('\n');
        let sent = match &mut self.stdin {
            Some(stdin) => stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()),
            None => Ok(()),
        };
        sent.map_err(|_| self.died())
    }

    /// Why the program is not there any more, as far as it said.
    fn died(&mut self) -> MethodError {
        let words = self.last_words.recv_timeout(FAREWELL).unwrap_or_default();
        let status = match self.child.wait_timeout(FAREWELL) {
            Ok(Some(status)) => format!("the program ended ({status})"),
            Ok(None) | Err(_) => "the program closed its input or output".into(),
        };
        let last = words.trim().lines().last().unwrap_or_default();
        MethodError(if last.is_empty() { status } else { format!("{status}: {last}") })
    }

    fn read(&self, line: &str) -> Result<Option<Vec<u8>>, MethodError> {
        let shown: String = line.trim().chars().take(120).collect();
        let answer: Answer = serde_json::from_str(line).map_err(|e| {
            MethodError(format!("answered `{shown}`, which is not {{\"architecture\": [choice, …]}}: {e}"))
        })?;
        let Some(names) = answer.architecture else {
            return match answer.done {
                true => Ok(None),
                false => Err(MethodError(format!("answered `{shown}`, without an architecture"))),
            };
        };
        let decisions = self.space.decisions();
        if names.len() != decisions.len() {
            let (found, wanted) = (names.len(), decisions.len());
            return Err(MethodError(format!(
                "asked for {found} choices; {} has {wanted}",
                self.space.name()
            )));
        }
        let mut choices = Vec::with_capacity(names.len());
        for (decision, name) in decisions.iter().zip(&names) {
            let Some(choice) = decision.choices.iter().position(|c| c == name) else {
                let hint = did_you_mean(name, decision.choices.iter().map(String::as_str));
                let decision = &decision.name;
                return Err(MethodError(format!("decision `{decision}` has no choice `{name}`{hint}")));
            };
            choices.push(choice as u8);
        }
        if !self.space.is_valid(&choices) {
            let hole = self.space.whole().is_some_and(|whole| whole.is_valid(&choices));
            let reason = if hole { "has no value in the table" } else { "is not valid" };
            return Err(MethodError(format!("asked for {}, which {reason}", names.join(", "))));
        }
        Ok(Some(choices))
    }
}

impl Method for Program {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        self.say(&Said::Ask)?;
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => self.read(&line),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(MethodError(format!("did not answer within {} s", PATIENCE.as_secs())))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        let space = self.space.clone();
        let named = space.decisions().iter().zip(choices);
        let architecture = named.map(|(d, &c)| d.choices[usize::from(c)].as_str()).collect();
        self.say(&Said::Tell { architecture, values })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.say(&Said::End);
        self.stdin = None;
        let _ = self.child.wait_timeout(FAREWELL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
