//! `srnas._native`: a search in a Python process. What a Python program sees is in `python/src/srnas`; this is what it stands on, no
//! more than the crate `srnas-search` in Python's types.
//!
//! Nothing here holds Python's lock while it computes, and no panic leaves it.

mod curves;
mod errors;
mod ledger;
mod past;
mod search;
mod space;

use pyo3::prelude::*;

/// What `import srnas._native` is.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        search::{Asked, Search},
        space::Space,
    };

    /// What is said between a search and its evaluators, as protobuf describes it: srnas/v1/evaluate.proto with what it imports.
    #[pyfunction]
    fn wire() -> &'static [u8] {
        srnas_proto::DESCRIPTORS
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("VERSION", env!("CARGO_PKG_VERSION"))
    }
}
