//! The folders that benchmark files lie in, and what is in them.

use crate::{
    benchmark::{BUILT_IN, Benchmark, BenchmarkError, EXTENSION},
    built_in::{self, BuiltIn},
    importers::Kind,
    wrn_tables::{self, WrnTable},
};
use srnas_basics::names;
use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Environment variable that names a folder of benchmark files.
pub const BENCH_DIR_VARIABLE: &str = "SRNAS_BENCH_DIR";

/// Where benchmarks are looked for, in order.
#[derive(Clone, Debug)]
pub struct Catalog {
    folders: Vec<PathBuf>,
    /// Files that go before all folders.
    files: Vec<PathBuf>,
}

/// Names that mean one benchmark everywhere, and so may not be those of tables of one's own: what is built in, what the importers
/// of published tables make, what is made of somebody's images, and what `srnas run --space` makes.
fn reserved() -> impl Iterator<Item = &'static str> {
    let published = crate::importers::KINDS.iter().flat_map(|kind| kind.benchmarks).copied();
    let made = wrn_tables::ALL.iter().map(|table| table.name);
    built_in::ALL.iter().map(|own| own.name).chain([SURROGATES]).chain(made).chain(published)
}

/// The benchmark of made-up tasks of a run, in its directory.
pub const SURROGATES: &str = "surrogates";

/// What can go wrong on the way to a benchmark.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No folder has the file.
    #[error("benchmark `{name}` is not in {}; {advice}", list_folders(folders))]
    Absent {
        /// The benchmark.
        name: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
        /// What to do, ready to print.
        advice: String,
    },
    /// There is no folder to look in.
    #[error("there is no folder for benchmarks: give --bench-dir DIR or set {BENCH_DIR_VARIABLE}")]
    NoFolder,
    /// A folder cannot be read.
    #[error("cannot list the benchmarks in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name means another benchmark everywhere.
    #[error("`{name}` cannot be the name of a table of yours: it is that of {what}; give it another name")]
    Reserved {
        /// The name as given.
        name: String,
        /// Whose it is, ready to print.
        what: String,
    },
    /// The file says that it is another benchmark.
    #[error("{} holds the benchmark `{name}`: rename it to {name}.{EXTENSION}", path.display())]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The name inside.
        name: String,
    },
    /// The file is there and is refused.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}

/// A file that is not used, since another benchmark has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Name of the benchmark.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What is used in its place: a file, or [`BUILT_IN`].
    pub by: PathBuf,
}

/// A benchmark file in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of the benchmark.
    pub name: String,
    /// Its file, or [`BUILT_IN`].
    pub path: PathBuf,
}

impl Catalog {
    /// The usual catalog: `bench_dir` if given, then `$SRNAS_BENCH_DIR`, then `benchmarks` in the user's data directory
    /// (`~/.local/share/srnas/benchmarks` on Linux). A benchmark in an earlier folder hides one of its name in a later.
    pub fn new(bench_dir: Option<PathBuf>) -> Self {
        let variable = env::var_os(BENCH_DIR_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let data = directories::ProjectDirs::from("", "", "srnas").map(|d| d.data_dir().join("benchmarks"));
        Self::over([bench_dir, variable, data].into_iter().flatten())
    }

    /// A catalog over these folders alone, in this order.
    pub fn over(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { folders: folders.into_iter().collect(), files: Vec::new() }
    }

    /// The same with one more file, before all folders.
    pub fn with_file(mut self, file: PathBuf) -> Self {
        self.files.push(file);
        self
    }

    /// The folders, in the order in which they are searched. They need not exist.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The folder that new benchmarks are written to: the first.
    ///
    /// # Errors
    /// There may be none: no option, no variable, no home.
    pub fn import_dir(&self) -> Result<&Path, CatalogError> {
        self.folders.first().map(PathBuf::as_path).ok_or(CatalogError::NoFolder)
    }

    /// Refuses the name of a table of one's own where it means another benchmark, in whatever case it is written.
    ///
    /// # Errors
    /// [`CatalogError::Reserved`].
    pub fn check_own_name(name: &str) -> Result<(), CatalogError> {
        let Some(of) = reserved().find(|of| of.eq_ignore_ascii_case(name)) else { return Ok(()) };
        let what = match Kind::of(of) {
            Some(kind) => format!("the benchmark that `srnas bench import {}` makes", kind.name),
            None if WrnTable::of(of).is_some() => {
                format!("the benchmark that `srnas bench generate {of}` makes")
            }
            None if of == SURROGATES => "what `srnas run --space` trains on".into(),
            None => "a benchmark that is built in".into(),
        };
        Err(CatalogError::Reserved { name: name.into(), what })
    }

    /// The benchmarks there are, by name: what is built in, and files. Files are not opened: one may still turn out to be
    /// damaged.
    ///
    /// # Errors
    /// A folder that exists and cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, CatalogError> {
        Ok(self.survey()?.0)
    }

    /// The files that are not used, since what is built in or a file in an earlier folder has their name.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn hidden(&self) -> Result<Vec<Hidden>, CatalogError> {
        Ok(self.survey()?.1)
    }

    fn survey(&self) -> Result<(Vec<Entry>, Vec<Hidden>), CatalogError> {
        let mut paths = self.files.clone();
        for folder in &self.folders {
            let failed = |source| CatalogError::Folder { folder: folder.clone(), source };
            let files = match folder.read_dir() {
                Ok(files) => files,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            for file in files {
                paths.push(file.map_err(failed)?.path());
            }
        }
        let mut found: BTreeMap<String, PathBuf> =
            built_in::ALL.iter().map(|own| (own.name.to_string(), BUILT_IN.into())).collect();
        let mut hidden = Vec::new();
        for path in paths {
            // Files that begin with a dot are being written.
            let name = path.file_stem().and_then(|s| s.to_str()).filter(|s| !s.starts_with('.'));
            let Some(name) = name.map(str::to_string) else { continue };
            if path.extension().is_none_or(|e| e != EXTENSION) {
                continue;
            }
            match found.get(&name) {
                // One folder may be given twice.
                Some(by) if *by == path => {}
                Some(by) => hidden.push(Hidden { name, path, by: by.clone() }),
                None => drop(found.insert(name, path)),
            }
        }
        hidden.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        Ok((found.into_iter().map(|(name, path)| Entry { name, path }).collect(), hidden))
    }

    /// Opens a benchmark by its name.
    ///
    /// # Errors
    /// Where it is in no folder, says where it was looked for and how it is made; passes on why a file is refused.
    pub fn open(&self, name: &str) -> Result<Arc<Benchmark>, CatalogError> {
        let entries = self.list()?;
        let Some(entry) = entries.iter().find(|e| e.name == name) else {
            return Err(self.absent(name, &entries));
        };
        if let Some(own) = BuiltIn::of(name) {
            return Ok((own.open)());
        }
        let benchmark = Benchmark::open(&entry.path)?;
        if benchmark.name() != name {
            return Err(CatalogError::OtherName { path: entry.path.clone(), name: benchmark.name().into() });
        }
        Ok(Arc::new(benchmark))
    }

    fn absent(&self, name: &str, entries: &[Entry]) -> CatalogError {
        if self.folders.is_empty() {
            return CatalogError::NoFolder;
        }
        let advice = match Kind::of(name) {
            Some(kind) => format!(
                "make it with `srnas bench import {} DIR…`, DIR… the folders of its tables",
                kind.name
            ),
            None if WrnTable::of(name).is_some() => {
                format!("make it with `srnas bench generate {name}`, which trains it")
            }
            None => {
                let mut known: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
                reserved().for_each(|own| known.push(own));
                let hint = names::did_you_mean(name, known);
                format!(
                    "a table of yours becomes one with `srnas bench import table FILE --descriptor D.toml`{hint}"
                )
            }
        };
        CatalogError::Absent { name: name.into(), folders: self.folders.clone(), advice }
    }
}

fn list_folders(folders: &[PathBuf]) -> String {
    let shown: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    shown.join(" or ")
}
