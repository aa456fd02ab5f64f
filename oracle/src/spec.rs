//! Which oracle measures, as it is named on a command line and kept in a configuration.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What comes before a program's name.
const PROGRAM: &str = "cmd:";

/// An oracle whose answers cost seconds to days, by its name: `train`, `shared`, `remote`, or `cmd:PROGRAM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum OracleSpec {
    /// Trains each network itself.
    Train,
    /// Trains weights that all networks share, once, and asks each network on them.
    Shared,
    /// Asks evaluators on this or other machines.
    Remote,
    /// Measures parts of a language model itself.
    Llm,
    /// Asks a program.
    Program(String),
}

/// Why a text names no oracle.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum OracleSpecError {
    /// No program is named.
    #[error("cmd: needs a program, such as 'cmd:python train.py'")]
    NoProgram,
    /// It is something else.
    #[error("it is `train`, `shared`, `remote` or `cmd:PROGRAM`")]
    Unknown,
}

impl FromStr for OracleSpec {
    type Err = OracleSpecError;

    fn from_str(text: &str) -> Result<Self, OracleSpecError> {
        match (text, text.strip_prefix(PROGRAM)) {
            ("train", _) => Ok(Self::Train),
            ("shared", _) => Ok(Self::Shared),
            ("remote", _) => Ok(Self::Remote),
            ("llm", _) => Ok(Self::Llm),
            (_, Some(program)) if !program.trim().is_empty() => Ok(Self::Program(program.into())),
            (_, Some(_)) => Err(OracleSpecError::NoProgram),
            (_, None) => Err(OracleSpecError::Unknown),
        }
    }
}

impl fmt::Display for OracleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train => f.write_str("train"),
            Self::Shared => f.write_str("shared"),
            Self::Remote => f.write_str("remote"),
            Self::Llm => f.write_str("llm"),
            Self::Program(program) => write!(f, "{PROGRAM}{program}"),
        }
    }
}

impl From<OracleSpec> for String {
    fn from(spec: OracleSpec) -> Self {
        spec.to_string()
    }
}

impl TryFrom<String> for OracleSpec {
    type Error = OracleSpecError;

    fn try_from(text: String) -> Result<Self, OracleSpecError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_what_names_nothing_is_refused() {
        for text in ["train", "shared", "remote", "llm", "cmd:python3 train.py --fast", "cmd: sh x"] {
            assert_eq!(text.parse::<OracleSpec>().unwrap().to_string(), text);
        }
        assert_eq!("cmd:  ".parse::<OracleSpec>(), Err(OracleSpecError::NoProgram));
        for text in ["", "Train", "python3 train.py", "cmd"] {
            assert_eq!(text.parse::<OracleSpec>(), Err(OracleSpecError::Unknown), "{text}");
        }
    }
}
