//! Zero-cost proxies of networks as NAS-Bench-201 has them against the published ones, of NAS-Bench-Suite-Zero.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::rank_correlation;
use srnas_oracle::{
    benchmark::Benchmark,
    importers::nasbench201,
    training::{
        Proxies,
        data::{ImageSet, Split},
        model::{Scale, Shape},
    },
};
use srnas_space::SearchSpace;
use std::{env, path::Path};
use tempfile::TempDir;

/// Every so many-th encoding is scored, if it is in its active form.
const STEP: u64 = 67;

/// Noise in place of CIFAR-10's images, which are not at hand.
fn noise(size: usize) -> ImageSet {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut split =
        || Split { pixels: (0..64 * 3 * size * size).map(|_| rng.random()).collect(), labels: vec![0; 64] };
    let train = split();
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
    let proxies = Proxies::new(space.clone(), &noise(8), scale, 1).unwrap();
    let mut all: [(Vec<f64>, Vec<f64>); 4] = Default::default();
    let mut choices = vec![0; space.len()];
    let began = std::time::Instant::now();
    for rank in (0..space.size().unwrap()).step_by(STEP as usize) {
        space.unrank(rank, &mut choices);
        let row = benchmark.row_of(&choices).unwrap();
        let published = ["nwot", "synflow", "jacov", "params"]
            .map(|name| benchmark.metric(&format!("cifar10/{name}")).unwrap().mean(row));
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
    let found = all.each_ref().map(|(own, published)| rank_correlation(own, published));
    eprintln!("{} cells in {:.1?}: {found:?}", all[0].0.len(), began.elapsed());
    let [nwot, synflow, jacov, params] = found;
    assert!(params > 0.999 && synflow > 0.95 && nwot > 0.95 && jacov > 0.8, "{found:?}");
}
