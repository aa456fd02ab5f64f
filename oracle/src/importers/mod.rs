//! Importers: from published tables to benchmark files.

pub mod csv;
pub mod described;
mod diagnosis;
pub mod flexibert;
pub mod hwgpt;
pub mod nasbench101;
pub mod nasbench201;
pub mod nasbench301;
pub mod nasbenchgraph;
pub mod nasbenchnlp;
pub mod nni;
pub mod study;
pub mod table;
mod trainings;
pub mod zerocost;

use crate::benchmark::BenchmarkWriter;
use csv::CsvError;
use srnas_space::SpaceError;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Reads the tables in some folders. The function given hears of each file before it is read: how many are done, of how
/// many, and its path.
pub type Import = fn(&[PathBuf], &mut dyn FnMut(usize, usize, &Path)) -> Result<Imported, ImportError>;

/// A kind of published tables that can be imported.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Name of the kind on the command line.
    pub name: &'static str,
    /// Names of the benchmarks that it makes.
    pub benchmarks: &'static [&'static str],
    /// Makes it.
    pub import: Import,
}

/// The kinds there are.
pub const KINDS: &[Kind] = &[
    Kind { name: "nasbench201", benchmarks: &[nasbench201::BENCHMARK], import: nasbench201::import },
    Kind { name: "nasbench101", benchmarks: &[nasbench101::BENCHMARK], import: nasbench101::import },
    Kind { name: "nasbench301", benchmarks: &[nasbench301::BENCHMARK], import: nasbench301::import },
    Kind { name: "transnas", benchmarks: &[described::TRANSNAS_MICRO], import: described::transnas_micro },
    Kind { name: "macro", benchmarks: &[described::MACRO], import: described::nasbench_macro },
    Kind { name: "graph", benchmarks: &[nasbenchgraph::BENCHMARK], import: nasbenchgraph::import },
    Kind { name: "flexibert", benchmarks: &[flexibert::BENCHMARK], import: flexibert::import },
    Kind { name: "nlp", benchmarks: &[nasbenchnlp::BENCHMARK], import: nasbenchnlp::import },
    Kind { name: "zerocost", benchmarks: &[zerocost::NB101, zerocost::NB301], import: zerocost::import },
    Kind { name: "hwgpt", benchmarks: hwgpt::BENCHMARKS, import: hwgpt::import },
];

impl Kind {
    /// The kind that makes a benchmark of this name.
    pub fn of(benchmark: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.benchmarks.contains(&benchmark))
    }
}

/// What an import made, and of what.
#[derive(Debug)]
pub struct Imported {
    /// The benchmarks, ready to be written.
    pub benchmarks: Vec<BenchmarkWriter>,
    /// The files read.
    pub files: Vec<PathBuf>,
    /// Names of the files that would have added metrics and were not there.
    pub absent: Vec<String>,
}

/// What can be wrong with the tables to import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A folder cannot be read.
    #[error("cannot read the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that must be there is in none of the folders.
    #[error(
        "{stem}.csv.gz (or {stem}.csv){others} is required and is neither in {} nor one folder below; give the folder that \
         has it",
        folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" nor in ")
    )]
    RequiredFile {
        /// The file's name without its ending.
        stem: &'static str,
        /// What would do as well, ready to print.
        others: &'static str,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// The same of a file whose whole name is known.
    #[error(
        "{name} is required and is neither in {} nor one folder below; give the folder that has it",
        folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" nor in ")
    )]
    RequiredName {
        /// The file's name.
        name: &'static str,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not as it should be.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A file of records is not as it should be.
    #[error("{}: {reason}", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which record.
        reason: String,
    },
    /// A table that a descriptor tells is not as it should be.
    #[error(transparent)]
    Table(#[from] table::TableError),
    /// The space is not known.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

/// The folders of an import and the folders right below them.
struct Folders {
    given: Vec<PathBuf>,
    /// Each one given, followed by those below it in order of their names.
    searched: Vec<PathBuf>,
}

impl Folders {
    fn new(given: &[PathBuf]) -> Result<Self, ImportError> {
        let mut searched = Vec::new();
        for folder in given {
            let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            let entries = entries.map_err(|source| ImportError::Folder { folder: folder.clone(), source })?;
            let mut below: Vec<PathBuf> =
                entries.into_iter().map(|e| e.path()).filter(|p| p.is_dir()).collect();
            below.sort();
            searched.push(folder.clone());
            searched.append(&mut below);
        }
        Ok(Self { given: given.to_vec(), searched })
    }

    /// The first file of this name, compressed or not.
    fn find(&self, stem: &str) -> Option<PathBuf> {
        self.find_ending(stem, ["csv.gz", "csv"])
    }

    /// The first file of this name with one of these endings.
    fn find_ending(&self, stem: &str, endings: [&str; 2]) -> Option<PathBuf> {
        let candidates = |folder: &PathBuf| endings.map(|ending| folder.join(format!("{stem}.{ending}")));
        self.searched.iter().flat_map(candidates).find(|path| path.is_file())
    }

    /// The first file of this name.
    fn find_named(&self, name: &str) -> Option<PathBuf> {
        self.searched.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    fn require(&self, stem: &'static str) -> Result<PathBuf, ImportError> {
        self.find(stem).ok_or_else(|| self.absent(stem, ""))
    }

    fn absent(&self, stem: &'static str, others: &'static str) -> ImportError {
        ImportError::RequiredFile { stem, others, folders: self.given.clone() }
    }
}
