//! A user's program as an oracle: one process for each measurement (docs/your-own-search.md).
//!
//! The program gets the architecture as a JSON object on stdin and in `SRNAS_ARCHITECTURE`, a seed in `SRNAS_SEED` and a
//! folder of its own in `SRNAS_DIRECTORY`. Its last line on stdout is a JSON object of metrics. Whatever else it does, the
//! search goes on and nothing of it is left running.
//!
//! Where there are shorter trainings, `SRNAS_FIDELITY` says how long to train, and `SRNAS_RESUME_FROM` is the folder of the
//! longest shorter training of the same architecture, kept for it to go on from.

mod answer;
mod process;

pub use answer::read as read_answer;

use crate::costly::{Answer, CostlyError, CostlyOracle};
use process::{Ended, Process};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tracing::{info, warn};

/// What a measurement's folder has: what went in, and why it is infeasible or what was measured.
const ARCHITECTURE: &str = "architecture.json";
const REASON: &str = "reason.txt";
const METRICS: &str = "metrics.json";

/// How a program is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandOptions {
    /// What `sh -c` is given.
    pub command: String,
    /// The metrics without which an answer is infeasible.
    pub metrics: Vec<String>,
    /// Longest time of a measurement.
    pub timeout: Option<Duration>,
    /// How often an infeasible measurement is tried again.
    pub retries: u32,
    /// What the program gets as its seed.
    pub seed: u64,
    /// Where the folders of the measurements are.
    pub folder: PathBuf,
    /// Whether the folders of good measurements are kept too.
    pub keep: bool,
    /// How long it can train.
    pub fidelities: Fidelities,
}

/// Asks a program.
#[derive(Debug)]
pub struct CommandOracle {
    space: Arc<SearchSpace>,
    definition: String,
    options: CommandOptions,
    /// Shorter trainings that have a durable answer, by the names of their folders.
    answered: Mutex<HashSet<String>>,
}

impl CommandOracle {
    /// An oracle for the space that `definition` describes. Whatever an earlier one with the same folder left running is
    /// killed.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(space: Arc<SearchSpace>, definition: String, mut options: CommandOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        options.folder = fs::canonicalize(&options.folder)?;
        let oracle = Self { space, definition, options, answered: Mutex::default() };
        oracle.kill_strays("");
        oracle.remove_unfinished()?;
        Ok(oracle)
    }

    /// Removes the folders of measurements that came to no end: they are begun anew, if at all.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.options.folder)? {
            let folder = entry?.path();
            let began = folder.join(ARCHITECTURE).exists();
            if began && !folder.join(REASON).exists() && !folder.join(METRICS).exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }

    /// Kills what carries the mark of this folder's measurements, or of one of them.
    fn kill_strays(&self, measurement: &str) {
        let killed = process::kill_marked(&self.mark(measurement));
        if killed > 0 {
            warn!("killed {killed} process(es) that the program had left behind");
        }
    }

    /// What `SRNAS_MEASUREMENT` of a measurement begins with.
    fn mark(&self, measurement: &str) -> String {
        format!("{}/{measurement}", self.options.folder.display())
    }

    /// Name of the folder of a training's first try.
    fn folder_name(&self, key: u64, fidelity: Fidelity) -> String {
        let fidelities = &self.options.fidelities;
        match fidelities.shorter() {
            0 => format!("{key:016x}"),
            _ => format!("{key:016x}-{}{}", fidelities.unit(), fidelities.amount(fidelity)),
        }
    }

    /// The folders of a training, one for each try that there was.
    fn tries(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let first = self.options.folder.join(name);
        let again = (1..).map(|attempt| self.options.folder.join(try_name(name, attempt)));
        std::iter::once(first).chain(again).take_while(|folder| folder.is_dir())
    }

    /// The longest shorter training of the same architecture that ended well and left its folder: its amount and folder.
    fn resumable(&self, key: u64, fidelity: Fidelity) -> Option<(f64, PathBuf)> {
        let fidelities = &self.options.fidelities;
        for shorter in fidelities.before(fidelity).rev().map(Fidelity::Shorter) {
            let name = self.folder_name(key, shorter);
            if let Some(folder) = self.tries(&name).find(|folder| folder.join(METRICS).exists()) {
                return Some((fidelities.amount(shorter), folder));
            }
            let gone = self.tries(&name).next().is_none();
            if gone && self.answered.lock().unwrap_or_else(PoisonError::into_inner).contains(&name) {
                let folder = shown(&self.options.folder.join(name));
                warn!("{folder} has gone: the training that would go on from it begins anew");
            }
        }
        None
    }

    fn once(
        &self,
        name: &str,
        training: &Training,
        stop: &AtomicBool,
    ) -> Result<Result<Answer, String>, CostlyError> {
        let choices = &training.choices;
        let folder = self.options.folder.join(name);
        let failed = |e: io::Error| CostlyError::Failed(format!("{}: {e}", folder.display()));
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => fs::create_dir_all(&folder).map_err(failed)?,
        }
        let architecture = serde_json::Value::Object(self.space.to_json(choices)).to_string();
        let input = folder.join(ARCHITECTURE);
        fs::write(&input, format!("{architecture}\n")).map_err(failed)?;
        let mut variables = vec![
            ("SRNAS_ARCHITECTURE", architecture),
            ("SRNAS_NOTATION", self.space.format(choices)),
            ("SRNAS_SEED", self.options.seed.to_string()),
            ("SRNAS_DIRECTORY", folder.to_string_lossy().into_owned()),
            (process::MARK, self.mark(name)),
        ];
        let fidelities = &self.options.fidelities;
        if fidelities.shorter() > 0 {
            variables.push(("SRNAS_FIDELITY", fidelities.amount(training.fidelity).to_string()));
            variables.push(("SRNAS_FULL_FIDELITY", fidelities.amount(Fidelity::Full).to_string()));
        }
        if let Some((amount, from)) = self.resumable(self.space.canonical_key(choices), training.fidelity) {
            variables.push(("SRNAS_RESUME_FROM", from.to_string_lossy().into_owned()));
            variables.push(("SRNAS_RESUME_FIDELITY", amount.to_string()));
        }
        let process = Process {
            command: &self.options.command,
            name,
            input: &input,
            errors: &folder.join("stderr.txt"),
            variables: &variables,
            timeout: self.options.timeout,
        };
        let ended = process.run(stop);
        self.kill_strays(name);
        let answer = match ended {
            Ok(ended) => ended,
            Err(e) => {
                return Err(CostlyError::Failed(format!(
                    "`{}` cannot be started: {e}",
                    self.options.command
                )));
            }
        };
        let said = match answer {
            Ended::Stopped => {
                let _ = fs::remove_dir_all(&folder);
                return Err(CostlyError::Stopped);
            }
            Ended::Failed(reason) => Err(reason),
            Ended::Well(stdout) => answer::read(&stdout, &self.options.metrics),
        };
        match &said {
            Err(reason) => fs::write(folder.join(REASON), format!("{reason}\n")).map_err(failed)?,
            // A longer training may go on from it.
            Ok(metrics) if self.options.keep || !training.fidelity.is_full() => {
                fs::write(folder.join(METRICS), format!("{}\n", serde_json::json!(metrics)))
                    .map_err(failed)?;
            }
            Ok(_) => fs::remove_dir_all(&folder).map_err(failed)?,
        }
        Ok(said.map(Answer::Metrics))
    }
}

impl CostlyOracle for CommandOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        let said = serde_json::json!({
            "command": self.options.command, "space": self.definition, "seed": self.options.seed,
        });
        ("cmd".into(), said.to_string())
    }

    /// The metrics that are searched; what else the program says is known when it has said it.
    fn metric_names(&self) -> Vec<String> {
        self.options.metrics.clone()
    }

    fn fidelities(&self) -> &Fidelities {
        &self.options.fidelities
    }

    /// The folders of shorter trainings are not needed once a longer one has ended.
    fn kept(&self, training: &Training) {
        let key = self.space.canonical_key(&training.choices);
        let fidelities = &self.options.fidelities;
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.folder_name(key, training.fidelity);
        // Of what failed everything is kept that it began with.
        let failed = self.tries(&name).any(|folder| folder.join(REASON).exists());
        for shorter in fidelities.before(training.fidelity).map(Fidelity::Shorter) {
            let shorter = self.folder_name(key, shorter);
            answered.remove(&shorter);
            if !self.options.keep && !failed {
                for folder in self.tries(&shorter).collect::<Vec<_>>() {
                    if let Err(e) = fs::remove_dir_all(&folder) {
                        warn!("{} cannot be removed: {e}", shown(&folder));
                    }
                }
            }
        }
        if !training.fidelity.is_full() {
            answered.insert(name);
        }
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let first = self.folder_name(self.space.canonical_key(&training.choices), training.fidelity);
        let mut attempt = 0;
        loop {
            let name = if attempt == 0 { first.clone() } else { try_name(&first, attempt) };
            match self.once(&name, training, stop)? {
                Ok(answer) => return Ok(answer),
                Err(reason) if attempt < self.options.retries => {
                    info!("{reason}; trying again");
                    attempt += 1;
                }
                Err(reason) => {
                    let folder = shown(&self.options.folder.join(name));
                    return Ok(Answer::Infeasible(format!("{reason} (kept: {folder})")));
                }
            }
        }
    }
}

/// Name of the folder of a further try.
fn try_name(first: &str, attempt: u32) -> String {
    format!("{first}-{attempt}")
}

/// A path as short as it can be said here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::read as read_space;
    use std::{
        collections::BTreeMap,
        sync::atomic::Ordering,
        time::{Duration, Instant},
    };

    fn oracle(folder: &Path, command: &str) -> CommandOracle {
        let text = "[[decisions]]\nname = \"width\"\nchoices = [8, 16]\n[[decisions]]\nname = \"op\"\nchoices = [\"conv\", \"pool\"]";
        let options = CommandOptions {
            command: command.into(),
            metrics: vec!["loss".into()],
            timeout: Some(Duration::from_secs(20)),
            retries: 0,
            seed: 7,
            folder: folder.into(),
            keep: false,
            fidelities: Fidelities::FULL,
        };
        CommandOracle::new(Arc::new(read_space(text, "made-up").unwrap()), text.into(), options).unwrap()
    }

    fn ask(oracle: &CommandOracle) -> Answer {
        oracle.measure(&Training::full(vec![1, 0]), &AtomicBool::new(false)).unwrap()
    }

    fn reason(command: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let oracle = oracle(folder.path(), command);
        let Answer::Infeasible(reason) = ask(&oracle) else { panic!("`{command}` was feasible") };
        // Its folder is kept, with what went in.
        let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(
            fs::read_to_string(kept.join("architecture.json")).unwrap(),
            "{\"op\":\"conv\",\"width\":16}\n"
        );
        reason
    }

    #[test]
    fn a_program_gets_what_it_needs_and_its_last_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let command = r#"read line; [ "$line" = "$SRNAS_ARCHITECTURE" ] || exit 3; [ "$SRNAS_SEED" = 7 ] || exit 4
            echo working > "$SRNAS_DIRECTORY/file"; echo words; echo '{"loss": 0.5, "note": "x", "other": 3}'; echo"#;
        let metrics = BTreeMap::from([("loss".to_string(), 0.5), ("other".into(), 3.0)]);
        assert_eq!(ask(&oracle(folder.path(), command)), Answer::Metrics(metrics));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a good measurement leaves nothing");
    }

    #[test]
    fn whatever_else_it_does_is_a_reason() {
        for (command, expected) in [
            ("true", "it said nothing"),
            ("echo '{\"loss\": 1}'; echo done", "its last line `done` is no JSON object"),
            ("echo '{\"loss\": 1} {\"loss\": 2}'", "is no JSON object"),
            ("echo '{\"loss\": NaN}'", "its metric `loss` is not a number (NaN)"),
            ("echo '{\"loss\": 1e39}'", "its metric `loss` is 1"),
            ("echo '{\"loss\": \"low\"}'", "its metric `loss` is \"low\", no number"),
            ("echo '{\"los\": 1}'", "it has no metric `loss`; did you mean `los`?"),
            ("echo broken >&2; exit 3", "exit status 3: broken"),
            ("kill -9 $$", "killed by signal 9"),
            ("sh -c 'kill -SEGV $$'; exit $?", "signal 11"),
            ("no-such-program-here", "exit status 127"),
        ] {
            let said = reason(command);
            assert!(said.contains(expected), "{command}: {said}");
        }
    }

    #[test]
    fn a_torrent_of_words_is_drained_and_only_its_end_kept() {
        let folder = tempfile::tempdir().unwrap();
        let command = "head -c 200000000 /dev/zero | tr '\\0' 'x' >&2; yes words | head -n 3000000; echo '{\"loss\": 2}'";
        let mut oracle = oracle(folder.path(), command);
        oracle.options.keep = true;
        assert_eq!(ask(&oracle), Answer::Metrics(BTreeMap::from([("loss".into(), 2.0)])));
        let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert!(fs::metadata(kept.join("stderr.txt")).unwrap().len() <= 1 << 20);
    }

    #[test]
    fn too_long_is_a_reason_also_for_who_ignores_the_signal_and_nobody_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        // Ignores SIGTERM, has a child in its group, and one that left it.
        let command = "trap '' TERM; sleep 300 & setsid sleep 300 & echo $! > \"$SRNAS_DIRECTORY/pid\"; sleep 300; sleep 300";
        let mut oracle = oracle(folder.path(), command);
        oracle.options.timeout = Some(Duration::from_millis(300));
        let began = Instant::now();
        let Answer::Infeasible(reason) = ask(&oracle) else { panic!("it was feasible") };
        assert!(reason.contains("longer than 300ms"), "{reason}");
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(process::marked(&oracle.mark("")).len(), 0);

        // A program that ends well and leaves a child that holds its output.
        let other = tempfile::tempdir().unwrap();
        let oracle = super::tests::oracle(other.path(), "setsid sleep 300 & echo '{\"loss\": 1}'");
        let began = Instant::now();
        assert!(matches!(ask(&oracle), Answer::Metrics(_)));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(process::marked(&oracle.mark("")).len(), 0);
    }

    #[test]
    fn a_stop_is_heard_and_an_infeasible_answer_is_tried_again_where_asked() {
        let folder = tempfile::tempdir().unwrap();
        let slow = oracle(folder.path(), "sleep 300");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let measured = scope.spawn(|| slow.measure(&Training::full(vec![0, 0]), &stop));
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
            assert!(matches!(measured.join().unwrap(), Err(CostlyError::Stopped)));
        });
        assert_eq!(process::marked(&slow.mark("")).len(), 0);

        let tries = folder.path().join("tries");
        let command =
            format!("echo x >> {0}; [ $(wc -l < {0}) -ge 3 ] && echo '{{\"loss\": 4}}'", tries.display());
        let work = tempfile::tempdir().unwrap();
        let mut again = oracle(work.path(), &command);
        again.options.retries = 2;
        assert_eq!(ask(&again), Answer::Metrics(BTreeMap::from([("loss".into(), 4.0)])));
    }

    #[test]
    fn a_long_last_line_is_read_and_a_longer_one_refused_with_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let line = |megabytes: usize| {
            let note = format!("head -c {} /dev/zero | tr '\\0' 'x'", megabytes << 20);
            format!("echo words; printf '{{\"loss\": 2, \"note\": \"'; {note}; echo '\"}}'; echo")
        };
        let metrics = Answer::Metrics(BTreeMap::from([("loss".into(), 2.0)]));
        assert_eq!(ask(&oracle(folder.path(), &line(2))), metrics);
        assert_eq!(ask(&oracle(folder.path(), &line(15))), metrics);
        let said = reason(&line(17));
        assert!(said.contains("longer than 16 MiB"), "{said}");
    }

    /// What happens to a program, once all of it runs, that is stopped.
    fn stopped(command: &str) -> (PathBuf, tempfile::TempDir, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes");
        fs::create_dir(&notes).unwrap();
        let slow = oracle(&folder.path().join("work"), &command.replace("NOTES", notes.to_str().unwrap()));
        let stop = AtomicBool::new(false);
        let took = std::thread::scope(|scope| {
            let measured = scope.spawn(|| slow.measure(&Training::full(vec![0, 0]), &stop));
            while !notes.join("ready").exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let asked = Instant::now();
            stop.store(true, Ordering::Relaxed);
            assert!(matches!(measured.join().unwrap(), Err(CostlyError::Stopped)));
            asked.elapsed()
        });
        assert_eq!(process::marked(&slow.mark("")).len(), 0);
        (notes, folder, took)
    }

    #[test]
    fn all_of_a_program_has_its_time_after_sigterm_and_not_its_shell_alone() {
        // The shell goes at once; what it started saves what it has, in its group and outside of it.
        let saver = r#"sh -c 'trap "sleep 1; touch NOTES/saved; exit" TERM; touch NOTES/ready; while :; do sleep 0.05; done'"#;
        for command in [format!("{saver}; true"), format!("{saver} & wait"), format!("setsid {saver} & wait")]
        {
            let (notes, _folder, took) = stopped(&command);
            assert!(notes.join("saved").exists(), "{command}: {took:?}");
        }
        // Whoever does not go is not waited for much longer.
        let stubborn = r#"sh -c 'trap "" TERM; touch NOTES/ready; while :; do sleep 0.05; done' & wait"#;
        let (_, _folder, took) = stopped(stubborn);
        assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn a_longer_training_is_given_what_the_shorter_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let command = r#"echo "$SRNAS_FIDELITY of $SRNAS_FULL_FIDELITY" > "$SRNAS_DIRECTORY/state"
            echo "{\"loss\": $SRNAS_FIDELITY, \"from\": ${SRNAS_RESUME_FIDELITY:-0}, \"state\": $(cut -d' ' -f1 "$SRNAS_RESUME_FROM/state" 2>/dev/null || echo 0)}""#;
        let mut oracle = oracle(folder.path(), command);
        oracle.options.fidelities = "epochs=3,9,27".parse().unwrap();
        let training = |fidelity| Training { choices: vec![1, 0], fidelity };
        let said = |fidelity| {
            let answer = oracle.measure(&training(fidelity), &AtomicBool::new(false)).unwrap();
            let Answer::Metrics(metrics) = answer else { panic!("{answer:?}") };
            ["loss", "from", "state"].map(|name| metrics[name])
        };
        let folders = || {
            let names = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<String> =
                names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names.iter().map(|name| name.split_once('-').unwrap().1.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(said(Fidelity::Shorter(0)), [3.0, 0.0, 0.0]);
        oracle.kept(&training(Fidelity::Shorter(0)));
        // Until it is in the ledger, a longer one may have to be begun again: what it began with stays.
        assert_eq!(said(Fidelity::Shorter(1)), [9.0, 3.0, 3.0]);
        assert_eq!(folders(), ["epochs3", "epochs9"]);
        oracle.kept(&training(Fidelity::Shorter(1)));
        assert_eq!(folders(), ["epochs9"]);
        // Begun again by another process; and where the folder has gone, from the beginning.
        let options = oracle.options.clone();
        let oracle = CommandOracle::new(oracle.space.clone(), String::new(), options).unwrap();
        let answer = oracle.measure(&training(Fidelity::Full), &AtomicBool::new(false)).unwrap();
        assert!(matches!(&answer, Answer::Metrics(m) if m["from"] == 9.0 && m["state"] == 9.0), "{answer:?}");
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        let answer = oracle.measure(&training(Fidelity::Full), &AtomicBool::new(false)).unwrap();
        assert!(matches!(&answer, Answer::Metrics(m) if m["from"] == 0.0), "{answer:?}");
    }
}
