//! `srnas llm tune`: trains a model further, alone or as a super-network whose parts are models.

use super::{Given, absolute, load_model, offer::OfferArguments};
use crate::commands::{Usage, stop_flag};
use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use srnas_basics::{files::write_whole, text::shell};
use srnas_llm::{
    config::Config,
    evaluate::perplexity,
    export::hugging_face,
    matrix::Format,
    model::Model,
    read_text,
    space::Offer,
    subnetwork::{Kept, Subnetwork},
    tokenizer::Tokenizer,
    training::{Corpus, Losses, Settings, Tuning, by_importance},
};
use srnas_space::SearchSpace;
use std::{
    fs::{self, File, TryLockError},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};
use tracing::info;

/// Files of a run directory.
const CONFIG: &str = "config.toml";
const STATE: &str = "tuning.safetensors";
const SAMPLED: &str = "sampled.json";
const HISTORY: &str = "history.csv";
/// The model, as Hugging Face has it, with its tokenizer: where `--model` finds what was tuned.
pub const MODEL: &str = "model";

/// Sequences by which channels are ordered.
const ORDERED_BY: usize = 256;
/// Tokens that are held out, at most, and those of a window of them.
const HELD_OUT: usize = 16_384;
/// Every so many steps of a log.
const LOGGED: u64 = 50;

#[derive(Debug, Args)]
pub struct Tune {
    #[command(flatten)]
    given: Given,
    /// A text to train on; may be given several times. The last twentieth of each is held out, to measure by
    #[arg(long, value_name = "FILE")]
    text: Vec<PathBuf>,
    /// Tokens that the model writes itself, to train on [default: 500,000 where there is no --text, else 0]
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// What the model and its parts learn from, besides the text [default: the model as it is]
    #[arg(long, value_name = "DIR|FILE")]
    original: Option<PathBuf>,
    /// Train the model as it is, no parts of it: to fine-tune what was exported. It learns from an --original only if one is given
    #[arg(long, conflicts_with_all = ["parts", "smallest", "gamma", "widths", "fewest_layers", "uniform"])]
    whole: bool,
    #[command(flatten)]
    offer: OfferArguments,
    /// Steps
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps)]
    steps: u64,
    /// Sequences of a step
    #[arg(long, value_name = "N", default_value_t = Settings::default().sequences)]
    sequences: usize,
    /// Tokens of a sequence [default: 256, or the model's context where that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    length: Option<u32>,
    /// The highest learning rate
    #[arg(long, value_name = "R", default_value_t = Settings::default().learning_rate)]
    learning_rate: f64,
    /// Decoupled weight decay
    #[arg(long, value_name = "D", default_value_t = Settings::default().weight_decay)]
    weight_decay: f64,
    /// Share of what the text says; the rest is what the original says, and to a part the whole
    #[arg(long, value_name = "A", default_value_t = Settings::default().alpha)]
    alpha: f32,
    /// Of what is said to a part, the share of the original; the rest is the whole's
    #[arg(long, value_name = "G", default_value_t = Settings::default().gamma)]
    gamma: f32,
    /// Parts drawn in each step
    #[arg(long, value_name = "N", default_value_t = Settings::default().parts)]
    parts: usize,
    /// Train the smallest part in each step, too
    #[arg(long)]
    smallest: bool,
    /// Steps between checkpoints
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint: u64,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the training is kept, and its model in the end: RUN_DIR/model
    #[arg(long, value_name = "D")]
    run_dir: PathBuf,
    /// Go on with the training that --run-dir holds; what it was begun with is kept
    #[arg(long, conflicts_with_all = ["model", "tokenizer", "text", "sample", "original", "whole", "widths", "fewest_layers",
        "formats", "kv_heads", "uniform", "steps", "sequences", "length", "learning_rate", "weight_decay", "alpha", "gamma",
        "parts", "smallest", "checkpoint", "seed"])]
    resume: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a training was begun with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TuneConfig {
    model: PathBuf,
    tokenizer: Option<PathBuf>,
    original: Option<PathBuf>,
    text: Vec<PathBuf>,
    sample: usize,
    /// Whether parts are trained.
    elastic: bool,
    checkpoint: u64,
    seed: u64,
    settings: Settings,
    offer: OfferArguments,
}

impl Tune {
    pub fn run(self) -> anyhow::Result<()> {
        let mut config = if self.resume { self.resumed()? } else { self.begun()? };
        let given = Given { model: Some(config.model.clone()), tokenizer: config.tokenizer.clone() };
        let (model, tokenizer) = given.load()?;
        if self.length.is_none() && !self.resume {
            config.settings.length = config.settings.length.min(model.config().context);
        }
        let settings = config.settings;
        let original = match (&config.original, config.elastic) {
            (Some(path), _) => Some(load_model(path)?),
            (None, true) => Some(model.clone()),
            (None, false) => None,
        };
        // What is refused is refused before there is a folder of it.
        let teacher = original.as_ref().map(Model::config);
        Tuning::check(model.config(), teacher, &settings)?;
        settings.foresee(model.config(), teacher)?;
        let (texts, held_out) = texts(&config.text, &tokenizer)?;
        if texts.is_empty() && config.sample == 0 {
            return Err(Usage("there is nothing to train on: give --text or --sample".into()).into());
        }
        let parts = Parts::of(model.config(), &config)?;
        fs::create_dir_all(&self.run_dir)
            .with_context(|| format!("cannot make {}", self.run_dir.display()))?;
        let _lock = hold(&self.run_dir)?;
        if !self.resume {
            if self.run_dir.join(CONFIG).exists() {
                let dir = self.run_dir.display();
                return Err(Usage(format!(
                    "{dir} holds a training already: go on with it by --resume, or name another folder"
                ))
                .into());
            }
            write_whole(&self.run_dir.join(CONFIG), toml::to_string(&config)?.as_bytes())?;
        }
        let corpus = self.corpus(&config, &model, texts)?;
        info!("trains on {} tokens", corpus.tokens());
        // Parts keep the first channels of a layer, so these are to be the ones that matter.
        let start = match config.elastic {
            true => by_importance(&model, &corpus, ORDERED_BY, config.seed)?,
            false => model.clone(),
        };
        let mut tuning = Tuning::new(&start, original.as_ref(), settings, config.seed)?;
        let state = self.run_dir.join(STATE);
        if self.resume && state.exists() {
            tuning.restore(&state)?;
            info!("goes on after {} of {} steps", tuning.done(), settings.steps);
        }
        let stop = stop_flag()?;
        self.train(&mut tuning, &corpus, &parts, &state, config.checkpoint, &stop)?;
        if tuning.done() < settings.steps {
            let dir = shell(&self.run_dir);
            bail!(
                "stopped after {} of {} steps; go on: srnas llm tune --resume --run-dir {dir}",
                tuning.done(),
                settings.steps
            );
        }
        let tuned = tuning.model()?;
        let to = self.run_dir.join(MODEL);
        if !to.exists() {
            hugging_face(&tuned, &tokenizer, &to)?;
        }
        self.tell(&start, &tuned, &parts, &held_out, &to)
    }

    fn begun(&self) -> anyhow::Result<TuneConfig> {
        if !self.offer.formats.is_empty() || !self.offer.kv_heads.is_empty() {
            let text = "--formats and --kv-heads are for a search: nothing is trained for them";
            return Err(Usage(text.into()).into());
        }
        let parts = if self.whole { 0 } else { self.parts };
        if parts == 0 && !self.whole && !self.smallest {
            return Err(
                Usage("--parts 0 trains no part of the model: say --whole if that is meant".into()).into()
            );
        }
        Ok(TuneConfig {
            model: absolute(self.given.path()?)?,
            tokenizer: self.given.tokenizer.as_deref().map(absolute).transpose()?,
            original: self.original.as_deref().map(absolute).transpose()?,
            text: self.text.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            sample: self.sample.unwrap_or(if self.text.is_empty() { 500_000 } else { 0 }),
            elastic: !self.whole,
            checkpoint: self.checkpoint,
            seed: self.seed,
            settings: Settings {
                steps: self.steps,
                sequences: self.sequences,
                length: self.length.map_or(Settings::default().length, |n| n as usize),
                learning_rate: self.learning_rate,
                weight_decay: self.weight_decay,
                alpha: self.alpha,
                gamma: self.gamma,
                parts,
                smallest: self.smallest && !self.whole,
            },
            offer: self.offer.clone(),
        })
    }

    fn resumed(&self) -> anyhow::Result<TuneConfig> {
        let path = self.run_dir.join(CONFIG);
        let text = fs::read_to_string(&path)
            .map_err(|e| Usage(format!("there is no training to go on with: {}: {e}", path.display())))?;
        Ok(toml::from_str(&text)
            .map_err(|e| Usage(format!("{} is not of a training: {e}", path.display())))?)
    }

    /// The texts, and what the model writes: once, so that a training that goes on reads the same.
    fn corpus(&self, config: &TuneConfig, model: &Model, texts: Vec<Vec<u32>>) -> anyhow::Result<Corpus> {
        let bos = model.config().bos;
        if config.sample == 0 {
            return Ok(Corpus::new(texts, bos)?);
        }
        let given = if texts.is_empty() { None } else { Some(Corpus::new(texts, bos)?) };
        let path = self.run_dir.join(SAMPLED);
        let sampled = match fs::read(&path) {
            Ok(bytes) => {
                let texts = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not what was written there", path.display()))?;
                Corpus::new(texts, bos)?
            }
            Err(_) => {
                let bar = ProgressBar::new(config.sample as u64).with_style(ProgressStyle::with_template(
                    "writes texts {bar:30} {pos}/{len} tokens, {eta} left",
                )?);
                let length = config.settings.length;
                let written = |n: usize| bar.inc(n as u64);
                let sampled = Corpus::sampled(model, config.sample, length, config.seed, &written)?;
                bar.finish_and_clear();
                write_whole(&path, &serde_json::to_vec(sampled.texts())?)?;
                sampled
            }
        };
        Ok(match given {
            Some(given) => given.with(sampled)?,
            None => sampled,
        })
    }

    fn train(
        &self,
        tuning: &mut Tuning,
        corpus: &Corpus,
        parts: &Parts,
        state: &Path,
        checkpoint: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let steps = tuning.settings().steps;
        let mut history = History::open(&self.run_dir.join(HISTORY), tuning.done())?;
        let bar = ProgressBar::new(steps)
            .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {msg}, {eta} left")?)
            .with_position(tuning.done());
        bar.reset_eta();
        let terminal = std::io::stderr().is_terminal();
        let (mut mean, mut counted, mut saved) = (Losses::default(), 0u64, Instant::now());
        while tuning.done() < steps && !stop.load(Ordering::Relaxed) {
            let losses = tuning.step(corpus, parts.smallest.as_deref(), &|rng| parts.draw(rng))?;
            (mean.whole, mean.parts, counted) =
                (mean.whole + losses.whole, mean.parts + losses.parts, counted + 1);
            let done = tuning.done();
            history.add(done, losses)?;
            bar.set_position(done);
            bar.set_message(format!("{:.3} nats, parts {:.3}", losses.whole, losses.parts));
            if done.is_multiple_of(LOGGED) || done == steps {
                let (whole, parts) = (mean.whole / counted as f64, mean.parts / counted as f64);
                if !terminal {
                    let seconds = saved.elapsed().as_secs_f64() / counted as f64;
                    info!(
                        "step {done} of {steps}: {whole:.4} nats a token, parts {parts:.4}, {seconds:.2} s a step"
                    );
                }
                (mean, counted, saved) = (Losses::default(), 0, Instant::now());
            }
            if done.is_multiple_of(checkpoint) && done < steps {
                tuning.save(state)?;
            }
        }
        bar.finish_and_clear();
        tuning.save(state)?;
        Ok(())
    }

    /// What the training gave, on what was held out.
    fn tell(
        &self,
        before: &Model,
        after: &Model,
        parts: &Parts,
        held_out: &[u32],
        to: &Path,
    ) -> anyhow::Result<()> {
        let window = after.config().context.min(256);
        let mut rows = Vec::new();
        if !held_out.is_empty() {
            for (name, shape) in parts.probes(after.config()) {
                let nats = |model: &Model| -> anyhow::Result<f64> {
                    let kept = |width: &Option<usize>| width.map(|width| Kept { width, format: Format::F32 });
                    let part = Subnetwork {
                        layers: shape.iter().map(kept).collect(),
                        ..Subnetwork::whole(model.config(), Format::F32)
                    };
                    Ok(perplexity(&model.cut(&part, None)?, held_out, window)?.nats)
                };
                rows.push((name, nats(before)?, nats(after)?));
            }
        }
        if self.json {
            let held = rows.iter().map(|(name, b, a)| json!({ "part": name, "nats_before": b, "nats": a }));
            println!(
                "{}",
                json!({ "model": to, "held_out": held.collect::<Vec<_>>(), "tokens": held_out.len(), "window": window })
            );
            return Ok(());
        }
        if !rows.is_empty() {
            println!(
                "Nats a token on {} tokens that were held out, in windows of {window}:\n",
                held_out.len()
            );
            println!("{:28} {:>8} {:>8}", "", "before", "now");
            rows.iter().for_each(|(name, before, now)| println!("{name:28} {before:>8.4} {now:>8.4}"));
            println!();
        }
        println!("the model is in {}", to.display());
        if parts.space.is_some() {
            println!("search its parts: srnas llm search --model {} --text FILE", shell(to));
        }
        Ok(())
    }
}

/// The texts as tokens, and the last of each, held out.
fn texts(paths: &[PathBuf], tokenizer: &Tokenizer) -> anyhow::Result<(Vec<Vec<u32>>, Vec<u32>)> {
    let (mut texts, mut held_out) = (Vec::new(), Vec::new());
    for path in paths {
        let mut tokens = tokenizer.encode(&read_text(path)?)?;
        if tokens.is_empty() {
            return Err(Usage(format!("{} has no token", path.display())).into());
        }
        let last = (tokens.len() / 20).min(HELD_OUT / paths.len().max(1));
        held_out.extend(tokens.split_off(tokens.len() - last));
        texts.push(tokens);
    }
    Ok((texts, held_out))
}

/// Keeps a second training out of the folder.
fn hold(run_dir: &Path) -> anyhow::Result<File> {
    let lock = File::options().create(true).append(true).open(run_dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("{} is in use by another training", run_dir.display()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The parts that are trained.
struct Parts {
    space: Option<std::sync::Arc<SearchSpace>>,
    config: Config,
    smallest: Option<Vec<Option<usize>>>,
}

impl Parts {
    fn of(config: &Config, tune: &TuneConfig) -> anyhow::Result<Self> {
        if !tune.elastic {
            return Ok(Self { space: None, config: config.clone(), smallest: None });
        }
        let shapes = Offer {
            formats: vec![Format::F32],
            kv_heads: vec![config.kv_heads],
            ..tune.offer.offer(config)?
        };
        let space = shapes.space(config)?;
        // The first layers are those that the others build on.
        let narrowest = |i: usize| {
            let d = space.decisions().iter().find(|d| d.name == "width" || d.name == format!("layer{i}"));
            d.and_then(|d| d.choices.iter().filter_map(|c| c.parse().ok()).find(|w: &usize| *w > 1))
        };
        let smallest = (0..config.widths.len()).map(|i| narrowest(i).filter(|_| i < shapes.fewest)).collect();
        Ok(Self { config: config.clone(), smallest: Some(smallest), space: Some(space) })
    }

    fn draw(&self, rng: &mut rand_chacha::ChaCha8Rng) -> Vec<Option<usize>> {
        let whole = || self.config.widths.iter().copied().map(Some).collect();
        let Some(space) = &self.space else { return whole() };
        let mut choices = vec![0; space.len()];
        space.sample(rng, &mut choices);
        let part = Subnetwork::chosen(&self.config, space, &choices);
        part.map_or_else(|_| whole(), |part| part.layers.iter().map(|l| l.map(|kept| kept.width)).collect())
    }

    /// Parts by which a training is told: the whole; each layer left out; all narrower.
    fn probes(&self, config: &Config) -> Vec<(String, Vec<Option<usize>>)> {
        let whole: Vec<_> = config.widths.iter().copied().map(Some).collect();
        let mut probes = vec![("the whole".to_string(), whole.clone())];
        if self.space.is_none() {
            return probes;
        }
        if whole.len() > 1 {
            probes.extend((0..whole.len()).map(|i| {
                let mut shape = whole.clone();
                shape[i] = None;
                (format!("without layer {i}"), shape)
            }));
        }
        let narrower =
            whole.iter().map(|w| w.map(|w| (w * 3 / 4 / 32 * 32).clamp(1, w).max(w.min(32)))).collect();
        probes.push(("all MLPs at three quarters".into(), narrower));
        probes
    }
}

/// Losses as they were, in a file that a training which goes on goes on with.
struct History(File);

impl History {
    fn open(path: &Path, done: u64) -> anyhow::Result<Self> {
        // What came after the last checkpoint comes again.
        let kept: String = fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .filter(|l| l.split(',').next().and_then(|s| s.parse().ok()).is_some_and(|s: u64| s <= done))
            .map(|line| format!("{line}\n"))
            .collect();
        write_whole(path, format!("step,nats,nats_of_parts\n{kept}").as_bytes())?;
        Ok(Self(File::options().append(true).open(path)?))
    }

    fn add(&mut self, step: u64, Losses { whole, parts }: Losses) -> anyhow::Result<()> {
        Ok(writeln!(self.0, "{step},{whole},{parts}")?)
    }
}
