//! What is trained where a command trains networks of a space.

use super::GivenSpace;
use crate::commands::{Usage, live::config::TrainingConfig};
use clap::Args;
use srnas_oracle::training::data::{self, ImageSet};
use srnas_space::SearchSpace;
use std::{path::PathBuf, sync::Arc};

/// A space, images, and how its networks are trained on them.
#[derive(Debug, Args)]
pub struct TrainingArguments {
    /// A space whose architectures can be trained: nb201, or one of wrn-compress-…
    #[arg(value_name = "FILE|NAME")]
    pub space: String,
    /// The images, as for `srnas search --data`
    #[arg(long, value_name = "DATA", default_value = "digits")]
    data: String,
    /// How networks are trained, and how large they are: the TOML file of `srnas search --recipe`
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
}

impl TrainingArguments {
    /// All of it, read.
    ///
    /// # Errors
    /// What is not there or cannot be read, and a recipe that does not fit.
    pub fn load(&self) -> anyhow::Result<(Arc<SearchSpace>, ImageSet, TrainingConfig)> {
        let space = GivenSpace::load(&self.space)?.space;
        let training = TrainingConfig::given(&space, Some(&self.data), self.recipe.as_deref())?;
        let images = data::load(&training.data, &mut |path| tracing::info!("reading {}", path.display()))
            .map_err(|error| Usage(error.to_string()))?;
        Ok((space, images, training))
    }
}
