//! `control`: a benchmark that is built in. Policies of small networks, trained by policy gradient on tasks of control that
//! are simulated here. `docs/benchmarks/control.md` tells how it was made and what it is good for.

mod fit;
mod generate;
mod math;
mod network;
mod physics;
mod retrain;
mod worlds;

pub use generate::generate;
pub use retrain::retrain;

use fit::{Recipe, Training, mean_return};
use network::{Activation, Shape};
use srnas_space::SearchSpace;
use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};
use worlds::{TASKS, Task};

use crate::{
    benchmark::{Benchmark, Direction, Fidelity, MetricInfo, SpaceDefinition, SpaceFormat},
    built_in::{self, Scores},
};

/// Name of the benchmark, and of its space.
pub const BENCHMARK: &str = "control";
/// Trainings of each class on each task, with seeds counted from 0.
pub const SEEDS: u64 = 2;

/// The most hidden layers.
const LAYERS: usize = 3;
const WIDTHS: [usize; 3] = [4, 8, 16];
const ACTIVATIONS: [(&str, Activation); 3] =
    [("tanh", Activation::Tanh), ("relu", Activation::Relu), ("logistic", Activation::Logistic)];
/// Metric of the weights of each network.
const PARAMETERS: &str = "cost/parameters";

/// The benchmark, as it is in the program.
pub fn benchmark() -> Arc<Benchmark> {
    static BENCHMARK: LazyLock<Arc<Benchmark>> = LazyLock::new(|| {
        let bytes = include_bytes!("../data/control.safetensors");
        Arc::new(Benchmark::built_in(bytes).expect("a test opens it"))
    });
    BENCHMARK.clone()
}

/// The space in the words of a file: depth, width and activation of each layer that there is, and whether the outputs see the
/// observation, too.
fn definition() -> SpaceDefinition {
    let mut text = format!(
        "name = \"{BENCHMARK}\"\n\n[[decisions]]\nname = \"layers\"\nchoices = {:?}\nordered = true\n",
        (1..=LAYERS).collect::<Vec<_>>()
    );
    for layer in 1..=LAYERS {
        let condition = match layer {
            1 => String::new(),
            _ => format!("active_if = {{ layers = {:?} }}\n", (layer..=LAYERS).collect::<Vec<_>>()),
        };
        let names = ACTIVATIONS.map(|(name, _)| name);
        write!(
            text,
            "\n[[decisions]]\nname = \"width{layer}\"\nchoices = {WIDTHS:?}\nordered = true\n{condition}\
             \n[[decisions]]\nname = \"activation{layer}\"\nchoices = {names:?}\n{condition}"
        )
        .expect("writing to a text does not fail");
    }
    text += "\n[[decisions]]\nname = \"skip\"\nchoices = [\"no\", \"yes\"]\n";
    SpaceDefinition { format: SpaceFormat::Toml, text }
}

/// The space.
pub fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> =
        LazyLock::new(|| Arc::new(definition().space(BENCHMARK).expect("the definition is a space")));
    SPACE.clone()
}

/// The network that choices of the space stand for.
fn shape(choices: &[u8]) -> Shape {
    let [layers, of_layers @ .., skip] = choices else { unreachable!("choices of the space") };
    let layer = |pair: &[u8; 2]| (WIDTHS[usize::from(pair[0])], ACTIVATIONS[usize::from(pair[1])].1);
    let all = of_layers.as_chunks::<2>().0.iter().map(layer);
    Shape { layers: all.take(usize::from(*layers) + 1).collect(), skip: *skip == 1 }
}

/// How each policy is trained: short enough for a fifth of a second on all tasks, and long enough that the best networks learn
/// them and most do not.
fn recipe() -> Recipe {
    Recipe {
        updates: 500,
        early: 150,
        rollout: 32,
        discount: 0.98,
        trace: 0.95,
        rate: 5e-3,
        entropy: 0.01,
        value: 50.0,
        clip: 5.0,
    }
}

/// Trains a network on each task, and says what it returned by then and early.
fn measure(choices: &[u8], seed: u64) -> Scores {
    let (shape, recipe) = (shape(choices), recipe());
    let of_task = |task: Task| {
        let mut training = Training::new(task, &shape, &recipe, seed);
        let mut returned = |updates: usize| {
            (0..updates).for_each(|_| training.update());
            f64::from(mean_return(task, training.network()))
        };
        let early = returned(recipe.early);
        let last = returned(recipe.updates - recipe.early);
        [(format!("{}/early", task.name), early), (format!("{}/return", task.name), last)]
    };
    TASKS.into_iter().flat_map(of_task).collect()
}

/// The returns that a training said early, of those that it said at its end.
fn fidelities() -> Vec<Fidelity> {
    let of = |task: Task| Fidelity {
        metric: format!("{}/early", task.name),
        of: format!("{}/return", task.name),
        unit: "updates".into(),
        amount: recipe().early as u32,
        full: recipe().updates as u32,
    };
    TASKS.map(of).to_vec()
}

/// What a metric of the benchmark means.
fn metric_info(name: &str) -> MetricInfo {
    let Some((task, metric)) = name
        .split_once('/')
        .and_then(|(task, metric)| Some((TASKS.into_iter().find(|known| known.name == task)?, metric)))
    else {
        return MetricInfo {
            unit: String::new(),
            direction: Direction::Minimise,
            description: "weights".into(),
        };
    };
    let updates = if metric == "early" { recipe().early } else { recipe().updates };
    MetricInfo {
        unit: String::new(),
        direction: Direction::Maximise,
        description: format!("{}: return after {updates} updates, of at most {}", task.told, task.horizon),
    }
}

/// The classes: for each the choices of its first encoding, in order.
fn classes() -> Vec<Vec<u8>> {
    built_in::classes(&space())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_has_so_many_classes_and_each_is_another_network() {
        let classes = classes();
        // Of one, two and three layers, each with and without a skip.
        assert_eq!(classes.len(), 2 * (9 + 9 * 9 + 9 * 9 * 9));
        let shapes: Vec<Shape> = classes.iter().map(|choices| shape(choices)).collect();
        assert!(shapes.iter().enumerate().all(|(i, one)| !shapes[..i].contains(one)));
        let deep = space().parse("layers=2,width1=16,activation1=relu,width2=4,activation2=tanh,skip=yes");
        let expected = vec![(16, Activation::Relu), (4, Activation::Tanh)];
        assert_eq!(shape(&deep.unwrap()), Shape { layers: expected, skip: true });
    }

    #[test]
    fn it_is_whole_and_says_what_its_metrics_are() {
        let benchmark = benchmark();
        assert_eq!((benchmark.name(), benchmark.space().name()), (BENCHMARK, BENCHMARK));
        assert!(benchmark.covers_space());
        assert_eq!(benchmark.measured().len(), classes().len());
        assert_eq!(benchmark.metrics().len(), 2 * TASKS.len() + 1);
        for metric in benchmark.metrics() {
            assert_eq!(metric.info(), &metric_info(metric.name()), "{}", metric.name());
            assert!(metric.values().all(f64::is_finite), "{}", metric.name());
        }
        for task in TASKS {
            assert_eq!(benchmark.fidelities(&format!("{}/return", task.name)).len(), 1);
            assert!(
                benchmark
                    .metric(&format!("{}/return", task.name))
                    .unwrap()
                    .values()
                    .all(|v| v <= task.horizon.into())
            );
        }
    }
}
