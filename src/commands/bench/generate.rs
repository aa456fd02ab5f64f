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
    wrn_tables::{self, Making, Size, WrnTable},
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
    PossibleValuesParser::new(
        built_in::ALL.iter().map(|own| own.name).chain(wrn_tables::ALL.iter().map(|table| table.name)),
    )
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The benchmark
    #[arg(value_parser = names())]
    benchmark: String,
    /// Where to write it; the trainings so far are kept beside it [default: its name, with .safetensors, in this folder; of what is made of
    /// your images where imports go, so that it is found]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of cifar10-wrn, cifar100-wrn and fashion-wrn: the folder with the images. CIFAR's binary version, unpacked; or the four files of
    /// Fashion-MNIST, compressed or not [default: of fashion-wrn where the Debian package dataset-fashion-mnist puts them,
    /// /usr/share/datasets/fashion-mnist]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Of these: how many of the 1,458 networks to train, drawn from all; more of them are more of the same [default: 260]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shapes: Option<u32>,
    /// Of these: trainings of each network [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    seeds: Option<u32>,
    /// Of these: how many images to train on, the first of those there are; a training takes as many times longer [default: 5000 of
    /// CIFAR's 25,000, 897 of Fashion-MNIST]
    #[arg(long, value_name = "N")]
    train_images: Option<usize>,
    /// Of these: how many validation images and as many test images to attack [default: 96]
    #[arg(long, value_name = "N")]
    attack_images: Option<usize>,
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
        if let Some(table) = WrnTable::of(name) {
            return self.of_images(table, catalog, out);
        }
        let own = BuiltIn::of(name).context("no such benchmark")?;
        let size = [self.train_images, self.attack_images, self.shapes.map(|n| n as usize)];
        if self.images.is_some() || self.seeds.is_some() || size.iter().any(Option::is_some) {
            let made = wrn_tables::ALL.each_ref().map(|table| table.name).join(", ");
            let text = format!(
                "--images, --shapes, --seeds, --train-images and --attack-images go with {made}; {name} is made as it is built in"
            );
            return Err(Usage(text).into());
        }
        let file = self.out.clone().unwrap_or_else(|| format!("{name}.{EXTENSION}").into());
        self.check_new(&file)?;
        self.make(&file, &own.generate, out)
    }

    /// Makes one of those that are of images which the program has not.
    fn of_images(&self, table: &'static WrnTable, catalog: &Catalog, out: &mut Output) -> anyhow::Result<()> {
        let file = self.out.clone().map_or_else(|| place(catalog, table.name), Ok)?;
        self.check_new(&file)?;
        let Some(images) = self.images.clone().or_else(|| table.usual_folder()) else {
            return Err(Usage(format!("{} wants --images DIR: {}", table.name, table.needs)).into());
        };
        let size = Size {
            shapes: self.shapes.map(|n| n as usize),
            seeds: self.seeds.map(u64::from),
            train_images: self.train_images,
            attack_images: self.attack_images,
        };
        let making = Making::new(table, &images, size).map_err(|e| Usage(with_causes(&e)))?;
        let [train, attacked] = making.images();
        tracing::info!(
            "{} trainings on {train} images each, {attacked} of each split attacked; timing some networks on this machine",
            making.trainings()
        );
        tracing::info!(
            "at most about {} of one core that does nothing else; each training is kept as it ends, and the same command goes on after an interruption",
            span(making.seconds()?)
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

/// A time as people say it.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{:.0} seconds", seconds.max(2.0)),
        seconds if seconds < 7200.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds => format!("{:.0} hours", seconds / 3600.0),
    }
}
