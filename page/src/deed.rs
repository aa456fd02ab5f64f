//! What somebody who has the token may ask of what is watched.

use serde::Deserialize;

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// End now; what runs is given up.
    Stop,
    /// Begin nothing more, and end when what runs has ended.
    Drain,
    /// Write a checkpoint.
    Checkpoint,
    /// Take in a measurement of somebody's own.
    Add(Added),
    /// Give one of those who measure nothing more to do, by its name.
    Dismiss(String),
}

/// A measurement of somebody's own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// The index of each decision's choice.
    pub choices: Vec<u8>,
    /// What was measured; nothing where it is to be measured.
    pub metrics: Vec<(String, f64)>,
}

/// Somebody.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

impl Deed {
    /// What a request asks for.
    ///
    /// # Errors
    /// A name that is none, a body that does not fit.
    pub(crate) fn parse(name: &str, body: &[u8]) -> Result<Self, String> {
        match name {
            "stop" => Ok(Self::Stop),
            "drain" => Ok(Self::Drain),
            "checkpoint" => Ok(Self::Checkpoint),
            "add" => serde_json::from_slice(body).map(Self::Add).map_err(|e| format!("the measurement: {e}")),
            "dismiss" => {
                let named =
                    serde_json::from_slice::<Named>(body).map_err(|e| format!("who is to end: {e}"))?;
                Ok(Self::Dismiss(named.name))
            }
            other => Err(format!("there is no `{other}`: stop, drain, checkpoint, add or dismiss")),
        }
    }

    /// Its name in a request.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Drain => "drain",
            Self::Checkpoint => "checkpoint",
            Self::Add(_) => "add",
            Self::Dismiss(_) => "dismiss",
        }
    }
}
