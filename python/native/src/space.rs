//! Search spaces: by name, from a file, from a text.

use crate::errors::{input, wrong};
use pyo3::prelude::*;
use serde_json::json;
use srnas_space::{self as space, SPACES, SearchSpace};
use std::{fs, path::PathBuf, sync::Arc};

/// A space, and the text that says so.
#[pyclass(frozen, module = "srnas._native")]
pub struct Space {
    pub space: Arc<SearchSpace>,
    /// Empty for a space that is known by its name.
    pub definition: String,
}

#[pymethods]
impl Space {
    /// A file, TOML or a ConfigSpace in JSON.
    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        let space = space::load(&path).map_err(|e| wrong(&e))?;
        let definition = fs::read_to_string(&path).map_err(|e| input(format!("{}: {e}", path.display())))?;
        Ok(Self { space, definition })
    }

    /// One that has a name.
    #[staticmethod]
    fn named(name: &str) -> PyResult<Self> {
        if !space::is_known(name) {
            let known = SPACES.join(", ");
            return Err(input(format!("there is no file {name}, and no space of that name ({known})")));
        }
        let space = SearchSpace::named(name).map_err(|e| wrong(&e))?;
        Ok(Self { space, definition: String::new() })
    }

    /// A text as a TOML file has it.
    #[staticmethod]
    fn read(text: String, name: &str) -> PyResult<Self> {
        let space = Arc::new(space::read(&text, name).map_err(|e| wrong(&e))?);
        Ok(Self { space, definition: text })
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.space.name()
    }

    /// The text that says so; empty for a space that is known by its name.
    #[getter]
    fn definition(&self) -> &str {
        &self.definition
    }

    /// Number of combinations, where it can be counted.
    #[getter]
    fn size(&self) -> Option<u64> {
        self.space.size()
    }

    /// What was read otherwise than it is written.
    #[getter]
    fn notice(&self) -> Option<&str> {
        self.space.notice()
    }

    /// Its decisions with their choices: an object of lists, JSON.
    fn decisions(&self) -> String {
        let of = |d: &space::Decision| {
            let choices: Vec<_> = (0..d.choices.len() as u8).map(|choice| d.value(choice)).collect();
            json!([d.name, choices])
        };
        serde_json::Value::Array(self.space.decisions().iter().map(of).collect()).to_string()
    }
}
