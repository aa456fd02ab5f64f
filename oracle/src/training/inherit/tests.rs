use super::*;
use crate::training::{
    data,
    model::{Phase, Scale},
};
use rand::{Rng, SeedableRng};
use std::sync::Arc;

fn recipe(stages: usize) -> Recipe {
    let scale = Scale { width: if stages == 3 { 2 } else { 4 }, stages, cells: 1 };
    Recipe { scale, epochs: 3, batch: 64, ..crate::digits::recipe() }
}

fn cells() -> (Arc<SearchSpace>, Recipe) {
    (SearchSpace::named("nb201").unwrap(), recipe(2))
}

fn wide() -> (Arc<SearchSpace>, Recipe) {
    (SearchSpace::named("wrn-compress-22-3-basic").unwrap(), recipe(3))
}

/// Trained a little.
fn parent(space: &SearchSpace, recipe: &Recipe, choices: &[u8]) -> Network {
    let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(3));
    let mut network = Network::new(space, choices, &data, recipe.scale, &mut rng).unwrap();
    network.fit(&data, recipe, &mut rng, |_, _| Ok(())).unwrap();
    network
}

fn difference(one: &mut Network, other: &mut Network, phase: Phase) -> f32 {
    let data = data::digits();
    let batch = data.batch(&data.test, &(0..64).collect::<Vec<_>>(), |_, _| {});
    let said = |network: &mut Network| {
        let pixels = network.tensor(&batch).unwrap();
        copied(&network.forward(&pixels, phase).unwrap()).unwrap()
    };
    let (one, other) = (said(one), said(other));
    assert!(one.iter().any(|v| v.abs() > 0.1), "it says something");
    one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The child says what its parent says, in evaluation and in training, and every part of it learns.
fn check(
    (space, recipe): &(Arc<SearchSpace>, Recipe),
    parent_choices: &[u8],
    trained: &mut Network,
    child: &[u8],
) {
    let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(8));
    let inherited = inherit(space, &data, recipe, (parent_choices, trained), child, &mut rng);
    let mut heir = inherited.unwrap_or_else(|error| panic!("{parent_choices:?} {child:?}: {error}"));
    let text = format!("{} to {}", space.format(parent_choices), space.format(child));
    assert!(difference(trained, &mut heir, Phase::Evaluate) <= 1e-5, "{text}");
    // Running averages are moved by it, of both.
    assert!(difference(trained, &mut heir, Phase::Train) <= 2e-5, "{text}, in training");
    let before = Weights::of(&mut heir).unwrap();
    heir.fit(&data, &Recipe { epochs: 1, weight_decay: 0.0, ..inheriting(recipe, 1) }, &mut rng, |_, _| {
        Ok(())
    })
    .unwrap();
    let after = Weights::of(&mut heir).unwrap();
    for (name, was) in &before.parameters {
        assert_ne!(was, &after.parameters[name], "{text}: {name} learns nothing");
    }
    let score = heir.score(&data, &data.validation, |_, _| {}).unwrap();
    let own = trained.score(&data, &data.validation, |_, _| {}).unwrap();
    assert!(score.loss < own.loss + 0.1, "{text}: {score:?} after {own:?}");
}

#[test]
fn stages_get_wider_and_deeper_and_say_the_same() {
    let kind = wide();
    let small = [0, 0, 0, 0, 0, 0, 0];
    let mut trained = parent(&kind.0, &kind.1, &small);
    for child in [
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 2],
        // Of four channels it would have no shortcut, of six it has one as of two.
        [0, 0, 2, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 2, 0],
        [0, 2, 2, 1, 2, 1, 1],
    ] {
        check(&kind, &small, &mut trained, &child);
    }
    // A child of a child, with copies of copies.
    let large = [0, 1, 1, 1, 1, 1, 0];
    let mut trained = parent(&kind.0, &kind.1, &large);
    check(&kind, &large, &mut trained, &[0, 2, 1, 2, 2, 1, 2]);
}

#[test]
fn copies_become_different() {
    let (space, recipe) = wide();
    let small = [0; 7];
    let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(8));
    let mut trained = parent(&space, &recipe, &small);
    let wider = [0, 0, 0, 0, 1, 0, 0];
    let mut heir = inherit(&space, &data, &recipe, (&small, &mut trained), &wider, &mut rng).unwrap();
    let rows = |network: &mut Network| -> Vec<Vec<f32>> {
        let weight = Weights::of(network).unwrap().parameters.remove("stage1.block0.first.weight").unwrap();
        weight.values.chunks_exact(weight.values.len() / weight.shape[0]).map(<[f32]>::to_vec).collect()
    };
    let before = rows(&mut heir);
    let twins: Vec<(usize, usize)> = (0..before.len())
        .flat_map(|i| (0..i).map(move |j| (j, i)))
        .filter(|&(j, i)| before[j] == before[i])
        .collect();
    assert!(twins.len() >= before.len() / 2, "{twins:?}");
    heir.fit(&data, &inheriting(&recipe, 1), &mut rng, |_, _| Ok(())).unwrap();
    let after = rows(&mut heir);
    for (one, other) in twins {
        let far = after[one].iter().zip(&after[other]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far > 1e-4, "{one} and {other} are still alike");
    }
}

#[test]
fn paths_are_added_and_grow_and_say_the_same() {
    let kind = cells();
    let simple = [2, 0, 0, 1, 3, 0];
    let mut trained = parent(&kind.0, &kind.1, &simple);
    for child in [
        // Larger.
        [3, 0, 0, 1, 3, 0],
        // From a node that was, to nodes that were not: what leads on from there is silent.
        [2, 1, 0, 1, 3, 2],
        [2, 4, 3, 1, 3, 3],
        [3, 3, 1, 1, 3, 2],
    ] {
        check(&kind, &simple, &mut trained, &child);
    }
    let skip = [0, 0, 0, 1, 0, 0];
    let mut trained = parent(&kind.0, &kind.1, &skip);
    check(&kind, &skip, &mut trained, &[2, 1, 3, 1, 3, 2]);
}

#[test]
fn random_edits_one_after_another_say_the_same() {
    for kind in [cells(), wide()] {
        let (space, recipe) = &kind;
        let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(5));
        let mut choices = if space.name() == "nb201" { vec![0, 2, 0, 1, 0, 3] } else { vec![0; 7] };
        let mut network = parent(space, recipe, &choices);
        let mut first = None;
        for _ in 0..4 {
            let mut reached = Vec::new();
            space.for_each_edit(&mut choices.clone(), |child, _, _| {
                let found = edits(space, data.shape, recipe.scale, &choices, child);
                reached.extend(found.ok().filter(|edits| !edits.is_empty()).map(|_| child.to_vec()));
            });
            if reached.is_empty() {
                break;
            }
            let child = reached[rng.random_range(0..reached.len())].clone();
            let mut heir = inherit(space, &data, recipe, (&choices, &mut network), &child, &mut rng).unwrap();
            assert!(difference(&mut network, &mut heir, Phase::Evaluate) <= 1e-5);
            first.get_or_insert(network);
            (network, choices) = (heir, child);
        }
        let all = difference(&mut first.unwrap(), &mut network, Phase::Evaluate);
        assert!(all <= 2e-5, "{}: {all}", space.format(&choices));
    }
}

#[test]
fn what_changes_the_function_is_refused_by_name() {
    let data = data::digits();
    let refused = |(space, recipe): &(Arc<SearchSpace>, Recipe), parent: &[u8], child: &[u8], says: &str| {
        let error = edits(space, data.shape, recipe.scale, parent, child).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let of_wide = wide();
    for (child, says) in [
        ([1, 1, 0, 1, 1, 1, 1], "the stem's stride is 2 in place of 1"),
        ([0, 0, 0, 1, 1, 1, 1], "stage 1 is narrower or shallower"),
        ([0, 1, 0, 1, 1, 1, 0], "stage 3 is narrower or shallower"),
        ([0, 1, 1, 1, 1, 1, 1], "stage 1 of 4 channels in place of 2"),
    ] {
        refused(&of_wide, &[0, 1, 0, 1, 1, 1, 1], &child, says);
    }
    let robust = (SearchSpace::named("wrn-compress-22-3").unwrap(), recipe(3));
    refused(&robust, &[0; 10], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0], "robust blocks");
    let of_cells = cells();
    for (child, says) in [
        ([2, 0, 0, 1, 4, 0], "edge 1>3 is avg_pool_3x3 in place of nor_conv_3x3"),
        ([2, 0, 0, 0, 3, 0], "edge 0>3 is none in place of skip_connect"),
        ([1, 0, 0, 1, 3, 0], "edge 0>1 is skip_connect in place of nor_conv_1x1"),
        ([2, 1, 0, 1, 3, 1], "edge 2>3 is skip_connect in place of none"),
    ] {
        refused(&of_cells, &[2, 0, 0, 1, 3, 0], &child, says);
    }
    let other = SearchSpace::named("nb101").unwrap();
    let nothing = vec![0; other.len()];
    refused(&(other, recipe(2)), &nothing, &nothing, "have no edits");
}
