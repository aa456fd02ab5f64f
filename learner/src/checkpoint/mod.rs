//! Checkpoints: folders `checkpoints/<updates>/`, each whole or not there. A learner goes on from the newest good one.
//!
//! `networks.safetensors` has weights, optimisers and averages, `best.safetensors` the best policy that a check found,
//! `replay.safetensors` the transitions, `state.json` counters and random generators; `manifest.json` has the SHA-256 of
//! the others, so that a damaged file is seen before anything of it is used.

mod state;
mod writer;

pub(crate) use state::{PredictorState, State};
pub(crate) use writer::CheckpointWriter;

use crate::replay::{ReplaySnapshot, SnapshotError};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use srnas_basics::{files::write_whole, text::hex};
use srnas_oracle::benchmark::MappedFile;
use srnas_policy::{Policy, PolicyError};
use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tracing::warn;

/// Format of the folders; a higher number is refused.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const NETWORKS: &str = "networks.safetensors";
const BEST: &str = "best.safetensors";
const REPLAY: &str = "replay.safetensors";
const STATE: &str = "state.json";
/// A folder that is being written; what a crash leaves of it is removed by the next.
const UNFINISHED: &str = ".unfinished";

/// What a learner goes on from, as it is written.
pub(crate) struct Checkpoint {
    pub state: State,
    /// Tensors of the networks, as safetensors.
    pub networks: Vec<u8>,
    pub best: Option<Vec<u8>>,
    pub replay: ReplaySnapshot,
}

/// A checkpoint that was read and found good.
pub(crate) struct Loaded {
    pub path: PathBuf,
    pub state: State,
    pub networks: HashMap<String, Tensor>,
    pub best: Option<Policy>,
    /// The replay's file, for [`Replay::from_snapshot`](crate::Replay::from_snapshot).
    pub replay: MappedFile,
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not what the manifest says.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// File.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote it.
    #[error(
        "the checkpoint {path} has format {found}, and this version of srnas knows {FORMAT}; go on with the version that wrote it"
    )]
    Newer {
        /// Folder.
        path: String,
        /// Its format.
        found: u32,
    },
    /// It does not fit the run's configuration.
    #[error("the checkpoint {path} does not fit this run: {reason}")]
    Unfit {
        /// Folder.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// There are checkpoints and none is good.
    #[error(
        "none of the {count} checkpoint(s) in {folder} is whole; remove the folder to start the training anew with the \
         measurements of the ledger"
    )]
    NoneGood {
        /// Folder of the checkpoints.
        folder: String,
        /// How many were tried.
        count: usize,
    },
    /// A part cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No thread.
    #[error("cannot start the thread of the checkpoints: {0}")]
    Thread(io::Error),
}

impl CheckpointError {
    /// Whether a checkpoint is not what was written, and will never be again.
    fn is_damage(&self) -> bool {
        match self {
            CheckpointError::Damaged { .. } => true,
            CheckpointError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    software: String,
    /// SHA-256 by name of the file.
    files: BTreeMap<String, String>,
}

/// The folder of a run's checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

impl Checkpoints {
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep }
    }

    /// Writes a checkpoint and removes others beyond those kept. Nothing that was there is touched unless the new
    /// one is whole and on the disk.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let unfinished = self.folder.join(UNFINISHED);
        let written = self.fill(&unfinished, checkpoint);
        if written.is_err() {
            // Room for other files on a full disk.
            let _ = fs::remove_dir_all(&unfinished);
        }
        written?;
        let path = self.folder.join(format!("{:09}", checkpoint.state.updates));
        let at = |source| CheckpointError::Io { path: path.display().to_string(), source };
        // A checkpoint after the same update replaces the one before.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(at)?;
        }
        fs::rename(&unfinished, &path).and_then(|()| File::open(&self.folder)?.sync_all()).map_err(at)?;
        self.prune(&path)?;
        Ok(path)
    }

    /// Removes what is more than is kept: besides the one just written the newest that are whole. A damaged one does not take
    /// the place of one that is whole.
    fn prune(&self, fresh: &Path) -> Result<(), CheckpointError> {
        let mut others = self.list()?;
        others.retain(|path| path != fresh);
        if others.len() < self.keep {
            return Ok(());
        }
        let mut kept = 1;
        for path in others {
            match verify(&path) {
                Ok(_) if kept < self.keep => {
                    kept += 1;
                    continue;
                }
                Ok(_) => {}
                Err(error) if error.is_damage() => warn!(%error, "a damaged checkpoint is removed"),
                // It may be whole: who can read it decides.
                Err(_) => continue,
            }
            fs::remove_dir_all(&path)
                .map_err(|source| CheckpointError::Io { path: path.display().to_string(), source })?;
        }
        Ok(())
    }

    fn fill(&self, folder: &Path, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let at = |source| CheckpointError::Io { path: folder.display().to_string(), source };
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(at)?;
        checkpoint.replay.write(&folder.join(REPLAY))?;
        let state = serde_json::to_vec(&checkpoint.state).expect("counters are plain data");
        let mut parts = vec![(NETWORKS, &checkpoint.networks), (STATE, &state)];
        parts.extend(checkpoint.best.as_ref().map(|best| (BEST, best)));
        for (name, bytes) in parts {
            write_whole(&folder.join(name), bytes).map_err(at)?;
        }
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(at)? {
            let entry = entry.map_err(at)?;
            File::open(entry.path()).and_then(|file| file.sync_all()).map_err(at)?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), hash_of(&entry.path())?);
        }
        let manifest = Manifest { format: FORMAT, software: env!("CARGO_PKG_VERSION").into(), files };
        let manifest = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        write_whole(&folder.join(MANIFEST), &manifest).map_err(at)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)
    }

    /// Folders of checkpoints, the newest first.
    pub fn list(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let at = |source| CheckpointError::Io { path: self.folder.display().to_string(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at)?;
            if let Ok(updates) = entry.file_name().to_string_lossy().parse::<u64>() {
                found.push((updates, entry.path()));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The newest checkpoint that is whole; damaged ones are said and skipped. `None` if there is none at all.
    pub fn newest(&self) -> Result<Option<Loaded>, CheckpointError> {
        let found = self.list()?;
        for path in &found {
            match load(path) {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(error @ CheckpointError::Newer { .. }) => return Err(error),
                Err(error) => {
                    warn!(checkpoint = %path.display(), %error, "a checkpoint is damaged and skipped");
                }
            }
        }
        match found.len() {
            0 => Ok(None),
            count => Err(CheckpointError::NoneGood { folder: self.folder.display().to_string(), count }),
        }
    }
}

fn hash_of(path: &Path) -> Result<String, CheckpointError> {
    let at = |source| CheckpointError::Io { path: path.display().to_string(), source };
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path).map_err(at)?, &mut hash).map_err(at)?;
    Ok(hex(&hash.finalize()))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, CheckpointError> {
    let path = folder.join(name);
    fs::read(&path).map_err(|source| CheckpointError::Io { path: path.display().to_string(), source })
}

fn damaged(folder: &Path, name: &str, reason: String) -> CheckpointError {
    CheckpointError::Damaged { path: folder.join(name).display().to_string(), reason }
}

/// Compares every file of a checkpoint with its manifest.
fn verify(folder: &Path) -> Result<Manifest, CheckpointError> {
    let read = |name| read(folder, name);
    let damaged = |name: &str, reason| damaged(folder, name, reason);
    let json: serde_json::Value =
        serde_json::from_slice(&read(MANIFEST)?).map_err(|e| damaged(MANIFEST, e.to_string()))?;
    let format = json["format"].as_u64().and_then(|f| u32::try_from(f).ok());
    match format {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => {
            return Err(CheckpointError::Newer { path: folder.display().to_string(), found });
        }
        _ => return Err(damaged(MANIFEST, "it names no format".into())),
    }
    let manifest: Manifest = serde_json::from_value(json).map_err(|e| damaged(MANIFEST, e.to_string()))?;
    for (name, hash) in &manifest.files {
        if hash_of(&folder.join(name))? != *hash {
            return Err(damaged(name, "its content is not what was written".into()));
        }
    }
    Ok(manifest)
}

/// Reads a checkpoint whole, every file compared with the manifest.
fn load(folder: &Path) -> Result<Loaded, CheckpointError> {
    let manifest = verify(folder)?;
    let read = |name| read(folder, name);
    let damaged = |name: &str, reason| damaged(folder, name, reason);
    let state: State = serde_json::from_slice(&read(STATE)?).map_err(|e| damaged(STATE, e.to_string()))?;
    let networks = candle_core::safetensors::load_buffer(&read(NETWORKS)?, &candle_core::Device::Cpu)
        .map_err(|e| damaged(NETWORKS, e.to_string()))?;
    let best = match manifest.files.contains_key(BEST) {
        true => {
            Some(Policy::from_bytes(&read(BEST)?).map_err(|e: PolicyError| damaged(BEST, e.to_string()))?)
        }
        false => None,
    };
    let replay = folder.join(REPLAY);
    let at = |source| CheckpointError::Io { path: replay.display().to_string(), source };
    let replay = MappedFile::open(&replay).map_err(at)?;
    Ok(Loaded { path: folder.to_path_buf(), state, networks, best, replay })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A folder with these files and a manifest that vouches for them.
    fn folder_of(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Checkpoints) {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("000000007");
        fs::create_dir(&checkpoint).unwrap();
        let mut hashes = BTreeMap::new();
        for (name, bytes) in files {
            fs::write(checkpoint.join(name), bytes).unwrap();
            hashes.insert(name.to_string(), hash_of(&checkpoint.join(name)).unwrap());
        }
        let manifest = Manifest { format: FORMAT, software: "test".into(), files: hashes };
        fs::write(checkpoint.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        let checkpoints = Checkpoints::new(folder.path().to_path_buf(), 2);
        (folder, checkpoints)
    }

    proptest! {
        /// Also where the hashes are right: whoever writes the files may write the manifest.
        #[test]
        fn arbitrary_bytes_are_refused(
            networks in proptest::collection::vec(any::<u8>(), 0..200),
            state in proptest::collection::vec(any::<u8>(), 0..200),
            best in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let files: [(&str, &[u8]); 4] =
                [(NETWORKS, &networks), (STATE, &state), (BEST, &best), (REPLAY, &networks)];
            let (_folder, checkpoints) = folder_of(&files);
            let refused = matches!(checkpoints.newest(), Err(CheckpointError::NoneGood { count: 1, .. }));
            prop_assert!(refused);
        }

        #[test]
        fn an_arbitrary_manifest_is_refused(manifest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (folder, checkpoints) = folder_of(&[]);
            fs::write(folder.path().join("000000007").join(MANIFEST), &manifest).unwrap();
            prop_assert!(checkpoints.newest().is_err());
        }
    }

    /// A checkpoint after so many updates, with nothing in it.
    fn empty(updates: u64) -> Checkpoint {
        let replay = crate::Replay::new(crate::ReplayConfig {
            capacity: 8,
            n_step: 1,
            gamma: 0.9,
            alpha: 0.6,
            time_limit: Default::default(),
            candidate_features: 1,
            context_features: 1,
            cost_feature: None,
            decisions: 0,
            width: 2,
        });
        let state = State {
            space: "toy".into(),
            updates,
            policy_version: 1,
            elapsed: 1.0,
            next_check: 1.0,
            skipped: 0,
            rng: rand::SeedableRng::seed_from_u64(1),
            settings: Default::default(),
            limiter: crate::limiter::RatioLimiter::new([1.0, 1.0], 1, 1),
            measurements: 0,
            ledger: None,
            environment_steps: 0,
            regrets: BTreeMap::new(),
            best: None,
            gained: None,
            gained_until: None,
            predictor: None,
            actors: Vec::new(),
        };
        let networks = safetensors::serialize(HashMap::<String, Tensor>::new(), None).unwrap();
        Checkpoint { state, networks, best: None, replay: replay.snapshot() }
    }

    #[test]
    fn the_newest_that_are_whole_are_kept_whatever_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = |checkpoints: &Checkpoints| -> Vec<u64> {
            let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            checkpoints.list().unwrap().iter().map(number).collect()
        };
        let damage = |updates: u64| {
            fs::write(folder.path().join(format!("{updates:09}")).join(NETWORKS), "cut short").unwrap();
        };
        let one = Checkpoints::new(folder.path().into(), 1);
        one.write(&empty(900)).unwrap();
        damage(900);
        // The run went on from an earlier one, so its next has a lower number.
        one.write(&empty(500)).unwrap();
        assert_eq!(numbers(&one), [500]);
        let two = Checkpoints::new(folder.path().into(), 2);
        for updates in [600, 700, 800] {
            two.write(&empty(updates)).unwrap();
        }
        assert_eq!(numbers(&two), [800, 700]);
        damage(800);
        two.write(&empty(710)).unwrap();
        assert_eq!(numbers(&two), [710, 700]);
        fs::remove_file(folder.path().join("000000700").join(MANIFEST)).unwrap();
        two.write(&empty(720)).unwrap();
        assert_eq!(numbers(&two), [720, 710]);
        assert_eq!(two.newest().unwrap().unwrap().state.updates, 720);
        // What a later release wrote is not for this one to judge.
        let manifest = folder.path().join("000000710").join(MANIFEST);
        fs::write(manifest, r#"{"format": 2, "whatever": []}"#).unwrap();
        two.write(&empty(730)).unwrap();
        two.write(&empty(740)).unwrap();
        assert_eq!(numbers(&two), [740, 730, 710]);
    }

    #[test]
    fn a_newer_format_is_refused_by_name_and_no_folder_is_no_checkpoint() {
        let (folder, checkpoints) = folder_of(&[]);
        let manifest = folder.path().join("000000007").join(MANIFEST);
        fs::write(&manifest, r#"{"format": 2, "whatever": []}"#).unwrap();
        assert!(matches!(checkpoints.newest(), Err(CheckpointError::Newer { found: 2, .. })));
        let none = Checkpoints::new(folder.path().join("absent"), 2);
        assert!(none.newest().unwrap().is_none());
    }
}
