//! What the tests of files of other programs share, in and out. The small files beside this one have the shapes of real ones.

#![allow(dead_code, reason = "each test crate uses part of it")]

use crate::harness::{PROGRAM, failure, stdout};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// Names a Python that has Optuna.
pub const OPTUNA_PYTHON: &str = "OPTUNA_PYTHON";

/// A folder with benchmarks of its own.
pub struct Setup(TempDir);

impl Setup {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Copies a file that has the shape of a real one.
    pub fn golden(&self, name: &str) {
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results").join(name),
            self.path().join(name),
        )
        .unwrap();
    }

    pub fn srnas(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env("SRNAS_BENCH_DIR", self.path().join("bench"));
        command
            .env("HOME", self.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove(OPTUNA_PYTHON)
            .output()
            .unwrap()
    }

    /// Suggests of files, imports by that, and returns the descriptor, the space, and what the import said.
    pub fn suggest_and_import(&self, kind: &str, files: &[&str], more: &[&str]) -> (String, String, Value) {
        let before = ["bench", "import", kind];
        let arguments =
            |last: &[&'static str]| [&before[..], files, more, &["--descriptor", "d.toml"], last].concat();
        fs::remove_file(self.path().join("d.toml")).ok();
        let said: Value = stdout(&self.srnas(&arguments(&["--suggest", "--json"]))).parse().unwrap();
        let space = said["space"].as_str().unwrap();
        let space = fs::read_to_string(self.path().join(space)).unwrap_or_else(|_| space.into());
        let imported = stdout(&self.srnas(&arguments(&["--json", "--replace"])));
        (self.read("d.toml"), space, imported.parse().unwrap())
    }

    pub fn refused(&self, arguments: &[&str], says: &[&str]) {
        let (code, said) = failure(&self.srnas(&[&["bench", "import"], arguments].concat()));
        assert!(code == 1 || code == 2, "{code}: {said}");
        for says in says {
            assert!(said.contains(says), "no {says:?} in {said}");
        }
        assert!(!self.path().join("bench").exists(), "nothing is half written");
    }

    pub fn best(&self, benchmark: &str, metric: &str) -> Value {
        let said = stdout(&self.srnas(&["bench", "best", benchmark, metric, "--limit", "1", "--json"]));
        said.lines().next().unwrap().parse().unwrap()
    }
}

/// Every one of the parts.
pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
