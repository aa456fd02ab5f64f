//! One training step on one core: forward, backward, SGD. `benches/pytorch_training_step.py` does the same in PyTorch.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_oracle::training::{
    Network, Recipe,
    data::{ImageSet, Split},
    model::{Scale, Shape},
};
use srnas_space::SearchSpace;
use std::time::Duration;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVERYTHING: &str =
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_3x3~2|";
const ALL: &str =
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|";
const WIDE: &str = "stem_stride=1,depth1=2,width1=2x,depth2=2,width2=2x,depth3=2,width3=2x";
const NARROW: &str = "stem_stride=1,depth1=1,width1=1x,depth2=1,width2=1x,depth3=1,width3=1x";

/// Name, space, network, images, scale, batch.
const CASES: [(&str, &str, &str, Shape, Scale, usize); 6] = [
    ("digits, a cell of everything", "nb201", EVERYTHING, DIGITS, SMALL, 64),
    ("digits, all 3x3", "nb201", ALL, DIGITS, SMALL, 64),
    ("CIFAR-10, a cell of everything", "nb201", EVERYTHING, CIFAR, USUAL, 64),
    ("CIFAR-10, all 3x3", "nb201", ALL, CIFAR, USUAL, 64),
    (
        "digits, WRN-16-2",
        "wrn-compress-22-3-basic",
        WIDE,
        DIGITS,
        Scale { width: 2, stages: 3, cells: 1 },
        64,
    ),
    ("CIFAR-10, WRN-10-1", "wrn-compress-22-3-basic", NARROW, CIFAR, USUAL, 64),
];
const DIGITS: Shape = Shape { channels: 1, size: [8, 8], classes: 10 };
const CIFAR: Shape = Shape { channels: 3, size: [32, 32], classes: 10 };
const SMALL: Scale = Scale { width: 4, stages: 2, cells: 1 };
const USUAL: Scale = Scale { width: 16, stages: 3, cells: 1 };

fn noise(shape: Shape, images: usize) -> ImageSet {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values = images * shape.channels * shape.size[0] * shape.size[1];
    let train = Split {
        pixels: (0..values).map(|_| rng.random()).collect(),
        labels: (0..images).map(|_| rng.random_range(0..shape.classes) as u8).collect(),
    };
    ImageSet { name: "noise".into(), shape, full: 255, validation: train.clone(), test: train.clone(), train }
}

fn steps(criterion: &mut Criterion) {
    for (name, space, network, shape, scale, batch) in CASES {
        let space = SearchSpace::named(space).expect("a built-in space");
        let choices = space.parse(network).expect("a network of it");
        let data = noise(shape, batch);
        let recipe = Recipe { scale, batch, augmentations: vec![], ..Recipe::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut network = Network::new(&space, &choices, &data, scale, &mut rng).expect("a network");
        let mut steps = network.steps(&data, &recipe, &mut rng).expect("a batch");
        criterion.bench_function(name, |b| b.iter(|| steps.step().expect("a step")));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).sample_size(20);
    targets = steps
}
criterion_main!(benches);
