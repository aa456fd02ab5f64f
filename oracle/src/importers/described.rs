//! Published tables that a descriptor tells all of, as anybody's own: `examples/tables/` has the same files to read.

use super::{Folders, ImportError, Imported, table};
use std::path::{Path, PathBuf};

/// A table and what is said of it.
struct Described {
    /// Name of its file without the ending.
    stem: &'static str,
    descriptor: &'static str,
    space: &'static str,
}

/// Name of the benchmark made of NAS-Bench-Macro.
pub const MACRO: &str = "nasbench-macro";
/// Name of the benchmark made of TransNAS-Bench-101.
pub const TRANSNAS_MICRO: &str = "transnas-micro";

/// NAS-Bench-Macro.
///
/// # Errors
/// See [`ImportError`].
pub fn nasbench_macro(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let table = Described {
        stem: "nasbench_macro_cifar10",
        descriptor: include_str!("../../../examples/tables/nasbench-macro.toml"),
        space: include_str!("../../../examples/tables/nasbench-macro-space.toml"),
    };
    table.import(folders, progress)
}

/// The micro space of TransNAS-Bench-101.
///
/// # Errors
/// See [`ImportError`].
pub fn transnas_micro(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let table = Described {
        stem: "transbench101_micro_val",
        descriptor: include_str!("../../../examples/tables/transnas-micro.toml"),
        space: include_str!("../../../examples/tables/transnas-micro-space.toml"),
    };
    table.import(folders, progress)
}

impl Described {
    fn import(
        &self,
        folders: &[PathBuf],
        progress: &mut dyn FnMut(usize, usize, &Path),
    ) -> Result<Imported, ImportError> {
        let path = Folders::new(folders)?.require(self.stem)?;
        progress(0, 1, &path);
        let descriptor = table::Descriptor::of_text(self.descriptor).expect("it is tested");
        let benchmark = table::import_with(&path, &descriptor, self.space)?.benchmark;
        Ok(Imported { benchmarks: vec![benchmark], files: vec![path], absent: Vec::new() })
    }
}
