//! Zero-cost proxies of networks as NAS-Bench-201 has them against the published ones, of NAS-Bench-Suite-Zero.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::rank_correlation;
use srnas_oracle::{
    benchmark::Benchmark,
    importers::nasbench201,
    training::{
        Proxies, Proxy,
        data::{ImageSet, Split},
        model::{Scale, Shape},
    },
};
use srnas_space::SearchSpace;
use std::{env, path::Path};
use tempfile::TempDir;

/// Every so many-th encoding is scored, if it is in its active form.
const STEP: u64 = 67;

/// In place of CIFAR-10's images, which are not at hand: noise that like theirs differs more between images than between pixels side by
/// side, of classes in turn.
fn noise(size: usize) -> ImageSet {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut plane = || -> Vec<u8> {
        // Four corners, what is between them, and a little of its own for each pixel.
        let [a, b, c, d]: [f64; 4] = rng.random();
        let mut pixel = |i: usize| {
            let (y, x) = ((i / size) as f64 / size as f64, (i % size) as f64 / size as f64);
            let between = (1.0 - y) * (a * (1.0 - x) + b * x) + y * (c * (1.0 - x) + d * x);
            (200.0 * between + 50.0 * rng.random::<f64>()) as u8
        };
        (0..size * size).map(&mut pixel).collect()
    };
    let pixels = (0..64 * 3).flat_map(|_| plane()).collect();
    let train = Split { pixels, labels: (0..64).map(|n| n % 10).collect() };
    ImageSet {
        name: "noise".into(),
        shape: Shape { channels: 3, size: [size, size], classes: 10 },
        full: 255,
        validation: train.clone(),
        test: train.clone(),
        train,
    }
}

#[test]
fn proxies_rank_cells_as_the_published_ones_do() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nb201.safetensors");
    let imported =
        nasbench201::import(&[Path::new(&sources).join("nasbench201")], &mut |_, _, _| {}).unwrap();
    imported.benchmarks[0].clone().write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    let space = SearchSpace::named("nb201").unwrap();
    let scale = Scale { width: 16, stages: 3, cells: 5 };
    let proxies = Proxies::new(space.clone(), &noise(8), scale, 1).unwrap().asking(&Proxy::ALL);
    let mut all = vec![(Vec::new(), Vec::new()); Proxy::ALL.len()];
    let mut choices = vec![0; space.len()];
    let began = std::time::Instant::now();
    for rank in (0..space.size().unwrap()).step_by(STEP as usize) {
        space.unrank(rank, &mut choices);
        let row = benchmark.row_of(&choices).unwrap();
        let published =
            Proxy::ALL.map(|proxy| benchmark.metric(&format!("cifar10/{}", proxy.name())).unwrap().mean(row));
        let mut active = choices.clone();
        space.activate(&mut active);
        if active != choices || published.iter().any(|value| value.is_nan()) {
            continue;
        }
        for ((all, own), published) in all.iter_mut().zip(proxies.of(&choices).unwrap()).zip(published) {
            all.0.push(own);
            all.1.push(published);
        }
    }
    eprintln!("{} cells in {:.1?}", all[0].0.len(), began.elapsed());
    let found: Vec<f64> = all.iter().map(|(own, published)| rank_correlation(own, published)).collect();
    for (proxy, found) in Proxy::ALL.into_iter().zip(&found) {
        let least = match proxy {
            Proxy::Params | Proxy::Flops => 0.999,
            Proxy::Nwot | Proxy::Synflow | Proxy::Snip | Proxy::GradNorm | Proxy::Zen => 0.95,
            Proxy::Fisher | Proxy::L2Norm => 0.92,
            Proxy::Jacov => 0.85,
            Proxy::EpeNas => 0.8,
            // Of one draw of weights each, and mostly chance.
            Proxy::Grasp | Proxy::Plain => -1.0,
        };
        eprintln!("{:<10} {found:.3}", proxy.name());
        assert!(*found > least, "{}: {found}", proxy.name());
    }
}
