//! `srnas bench generate`: benchmarks that are made by trainings on this machine.

use super::{
    Output, Usage,
    numbers::{megabytes, thousands},
    place,
};
use anyhow::Context;
use clap::{Args, builder::PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_basics::text::with_causes;
use srnas_oracle::{
    benchmark::{BenchmarkError, EXTENSION},
    built_in::{self, BuiltIn, GenerateError, Generated, Progress},
    catalog::Catalog,
    fashion_wrn::{self, Making},
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

/// What makes a benchmark: its journal, a wish to stop, and whom to tell how far it is.
type Make<'a> =
    &'a (dyn Fn(&Path, &AtomicBool, &(dyn Fn(Progress) + Sync)) -> Result<Generated, GenerateError> + Sync);

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(built_in::ALL.iter().map(|own| own.name).chain([fashion_wrn::BENCHMARK]))
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The benchmark
    #[arg(value_parser = names())]
    benchmark: String,
    /// Where to write it; the trainings so far are kept beside it [default: its name, with .safetensors, in this folder; of fashion-wrn
    /// where imports go, so that it is found]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of fashion-wrn: the folder with the four files of Fashion-MNIST, compressed or not [default: where the Debian package
    /// dataset-fashion-mnist puts them, /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Of fashion-wrn: how many of the 1,458 networks to train, drawn from all; more of them are more of the same [default: 260]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shapes: Option<u32>,
    /// Of fashion-wrn: trainings of each network [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    seeds: Option<u32>,
    /// Overwrite the file that is there already
    #[arg(long)]
    replace: bool,
    /// Trainings at a time [default: all cores]
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    threads: usize,
}

impl Generate {
    pub(super) fn run(&self, catalog: &Catalog, out: &mut Output) -> anyhow::Result<()> {
        let name = &self.benchmark;
        let Some(own) = BuiltIn::of(name) else { return self.of_images(catalog, out) };
        if self.images.is_some() || self.shapes.is_some() || self.seeds.is_some() {
            let text = format!(
                "--images, --shapes and --seeds go with {}; {name} is made as it is built in",
                fashion_wrn::BENCHMARK
            );
            return Err(Usage(text).into());
        }
        let file = self.out.clone().unwrap_or_else(|| format!("{name}.{EXTENSION}").into());
        self.check_new(&file)?;
        self.make(&file, &own.generate, out)
    }

    /// Makes the one that is of images which the program has not.
    fn of_images(&self, catalog: &Catalog, out: &mut Output) -> anyhow::Result<()> {
        let file = self.out.clone().map_or_else(|| place(catalog, &self.benchmark), Ok)?;
        self.check_new(&file)?;
        let images = self.images.clone().unwrap_or_else(Making::usual_folder);
        let (shapes, seeds) = (self.shapes.map(|n| n as usize), self.seeds.map(u64::from));
        let making = Making::new(&images, shapes, seeds).map_err(|e| Usage(with_causes(&e)))?;
        let (trainings, minutes) = making.expected();
        tracing::info!(
            "{trainings} trainings, about {minutes:.0} minutes of one core in all; each is kept as it ends, and the same command goes on after \
             an interruption"
        );
        self.make(&file, &|journal, stop, progress| making.generate(journal, stop, progress), out)
    }

    /// Refuses to write over what is there: before hours of training, not after.
    fn check_new(&self, path: &Path) -> anyhow::Result<()> {
        match path.exists() && !self.replace {
            true => Err(BenchmarkError::Present { path: path.into() }.into()),
            false => Ok(()),
        }
    }

    fn make(&self, path: &Path, make: Make, out: &mut Output) -> anyhow::Result<()> {
        let began = Instant::now();
        let journal = path.with_extension("trainings.jsonl");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let style =
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} trainings, {eta} left");
        let bar = ProgressBar::new(0).with_style(style.expect("a template"));
        let stop = crate::commands::stop_flag()?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let (first, line) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        let generated = pool.install(|| {
            make(&journal, &stop, &|progress: Progress| {
                if first.fetch_min(progress.done, Ordering::Relaxed) == usize::MAX {
                    bar.set_length(progress.total as u64);
                    bar.set_position(progress.done as u64);
                    bar.reset_eta();
                }
                bar.set_position(progress.done as u64);
                // A log line a minute where there is no terminal.
                let minute = (began.elapsed().as_secs() / 60) as usize;
                if bar.is_hidden() && line.fetch_max(minute, Ordering::Relaxed) < minute {
                    let new = progress.done - first.load(Ordering::Relaxed).min(progress.done);
                    let left = (progress.total - progress.done) as f64 * began.elapsed().as_secs_f64()
                        / new.max(1) as f64;
                    tracing::info!(
                        "{} of {} trainings, {:.0} minutes left",
                        progress.done,
                        progress.total,
                        left / 60.0
                    );
                }
            })
        });
        bar.finish_and_clear();
        let Generated { benchmark, trained, diverged } = generated?;
        let (rows, metrics) = (benchmark.rows(), benchmark.metrics());
        let bytes = benchmark.write(path)?;
        std::fs::remove_file(&journal).with_context(|| format!("cannot remove {}", journal.display()))?;
        let seconds = began.elapsed().as_secs_f64();
        if out.json {
            return out.line(json!({
                "benchmark": self.benchmark, "path": path, "classes": rows, "trained": trained, "metrics": metrics, "bytes": bytes,
                "diverged": diverged, "seconds": seconds,
            }));
        }
        let (size, place) = (megabytes(bytes as usize), path.display());
        let classes = match trained == rows {
            true => thousands(rows),
            false => format!("{} of {}", thousands(trained), thousands(rows)),
        };
        out.line(format!(
            "wrote  {place}: {classes} classes, {metrics} metrics, {size}, in {seconds:.0} s; {diverged} diverged"
        ))
    }
}
