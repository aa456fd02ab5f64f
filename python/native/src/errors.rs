//! What goes wrong, as Python exceptions: the package's own, which are in `srnas/errors.py`.

use pyo3::prelude::*;
use srnas_basics::text::with_causes;
use srnas_search::LiveError;
use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
};

pyo3::import_exception!(srnas.errors, Error);
pyo3::import_exception!(srnas.errors, InputError);

/// What was given is wrong.
pub fn input(error: impl ToString) -> PyErr {
    InputError::new_err(error.to_string())
}

/// What was given is wrong, in the words of an error and its causes.
pub fn wrong(error: &(dyn StdError + 'static)) -> PyErr {
    InputError::new_err(with_causes(error))
}

/// Something failed that was given rightly.
pub fn failed(error: &(dyn StdError + 'static)) -> PyErr {
    Error::new_err(with_causes(error))
}

/// Why a search does not go on.
pub fn of_search(error: LiveError) -> PyErr {
    match error {
        LiveError::Unfit(error) => wrong(&error),
        other => failed(&other),
    }
}

/// Works without Python's lock; a panic is an exception.
pub fn unlocked<T: Send>(py: Python<'_>, work: impl FnOnce() -> PyResult<T> + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::new_err(format!("an error in srnas itself: {}", said.unwrap_or("it did not say which"))))
    })
}
