//! `cargo bench -p srnas-space --bench canonical_key`: nanoseconds for the key of a random valid architecture.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_space::SearchSpace;
use std::hint::black_box;

fn canonical_key(c: &mut Criterion) {
    for name in ["nb201", "nb101"] {
        let space = SearchSpace::named(name).expect("it is built in");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let cells: Vec<Vec<u8>> = (0..1024)
            .map(|_| {
                let mut choices = vec![0; space.len()];
                space.sample(&mut rng, &mut choices);
                choices
            })
            .collect();
        let mut next = cells.iter().cycle();
        c.bench_function(&format!("canonical key, {name}"), |b| {
            b.iter(|| space.canonical_key(black_box(next.next().expect("a cycle"))));
        });
    }
}

criterion_group!(benches, canonical_key);
criterion_main!(benches);
