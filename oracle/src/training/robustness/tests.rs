use super::*;
use crate::training::{Adversarial, Recipe, attack::Attack, data, measure::Questions, model::Scale};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_space::{SearchSpace, wrn::WideResNet};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn robustness(text: &str) -> Result<Robustness, String> {
    toml::from_str(text).map_err(|e| e.to_string())
}

#[test]
fn attacks_are_written_and_read() {
    for (text, attack, metric) in [
        ("fgsm", Strong::Fgsm, "fgsm"),
        ("pgd", Strong::Pgd(20), "pgd20"),
        ("pgd-7", Strong::Pgd(7), "pgd7"),
        ("cw-40", Strong::Cw(40), "cw40"),
        ("apgd-ce", Strong::ApgdCe(100), "apgd_ce"),
        ("apgd-dlr-15x3", Strong::ApgdDlr(15, 3), "apgd_dlr"),
        ("apgd-dlr-15", Strong::ApgdDlr(15, 9), "apgd_dlr"),
        ("square-100", Strong::Square(100), "square"),
    ] {
        let read: Strong = text.parse().unwrap();
        assert_eq!((read, read.metric().as_str()), (attack, metric));
        assert_eq!(read.to_string().parse(), Ok(attack));
    }
    for (text, says) in [
        ("pgd_20", "did you mean `pgd`"),
        ("autoattack", "there is no attack `autoattack`"),
        ("", "there is no attack ``"),
        ("pgd20", "did you mean `pgd`"),
        ("deepfool", "as in fgsm, pgd-20"),
        ("pgd-0", "1 to 100000"),
        ("pgd-x", "a number"),
        ("fgsm-3", "takes no number"),
        ("apgd-dlr-5x0", "1 to 100000"),
    ] {
        let error = text.parse::<Strong>().unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn what_cannot_be_found_is_refused() {
    let good = robustness("epsilon = [\"8/255\", 0.1]\nattacks = [\"fgsm\", \"pgd-20\"]").unwrap();
    assert_eq!(
        good.names(),
        [
            "fgsm@8",
            "pgd20@8",
            "worst@8",
            "lipschitz@8",
            "fgsm@25.5",
            "pgd20@25.5",
            "worst@25.5",
            "lipschitz@25.5"
        ]
    );
    assert!(
        good.names().iter().all(|name| good.describe(name).is_some()) && good.describe("clean").is_none()
    );
    good.check(2).unwrap();
    for (text, says) in [
        ("epsilon = [8]\nattacks = [\"fgsm\"]", "do you mean 8/255?"),
        ("epsilon = [\"0.03/255\"]\nattacks = [\"fgsm\"]", "do you mean 0.03 of the whole range?"),
        ("epsilon = [0.1]\nattacks = [\"deepfool\"]", "there is no attack `deepfool`"),
        ("epsilon = [0.1]\nattack = [\"fgsm\"]", "unknown field `attack`"),
    ] {
        let error = robustness(text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    for (text, classes, says) in [
        ("epsilon = []\nattacks = [\"fgsm\"]", 10, "at least one epsilon"),
        ("epsilon = [0.1]\nattacks = []", 10, "one attack"),
        ("epsilon = [0.1]\nattacks = [\"fgsm\"]\nimages = 0", 10, "one image"),
        ("epsilon = [0.1, 0.1]\nattacks = [\"fgsm\"]", 10, "`fgsm@25.5` is asked twice"),
        ("epsilon = [0.1]\nattacks = [\"apgd-ce-5\", \"apgd-ce-6\"]", 10, "asked twice"),
        ("epsilon = [0.1]\nattacks = [\"apgd-dlr-9x9\"]", 9, "more classes than targets"),
        ("epsilon = [0.1]\nattacks = [\"apgd-dlr-9x1\"]", 3, "needs four classes"),
    ] {
        let error = robustness(text).unwrap().check(classes).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    // Everywhere else where a radius is written.
    let questions: Result<Questions, _> = toml::from_str("attacks = [{ epsilon = 8, steps = 1 }]");
    assert!(questions.unwrap_err().to_string().contains("do you mean 8/255?"));
    let recipe = |text: &str| toml::from_str::<Recipe>(text).map_err(|e| e.to_string());
    for text in [
        "adversarial = { trades = { attack = { epsilon = 8, steps = 10 }, beta = 6 } }",
        "adversarial = { fast = { epsilon = 8 } }",
        "adversarial = { free = { epsilon = 8, replays = 4 } }",
    ] {
        assert!(recipe(text).unwrap_err().contains("do you mean 8/255?"), "{text}");
        recipe(&text.replace("= 8", "= \"8/255\"")).unwrap().check(&data::digits()).unwrap();
    }
}

fn recipe(adversarial: Option<Adversarial>) -> Recipe {
    let scale = Scale { width: 2, stages: 3, cells: 1 };
    Recipe { scale, epochs: 12, batch: 64, augmentations: vec![], adversarial, ..Recipe::default() }
}

fn trained(adversarial: Option<Adversarial>) -> (Network, ImageSet) {
    let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
    let choices =
        space.parse("stem_stride=1,depth1=1,width1=2x,depth2=1,width2=2x,depth3=1,width3=2x").unwrap();
    assert!(WideResNet::of(&space, &choices).is_some());
    let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(1));
    let recipe = recipe(adversarial);
    recipe.check(&data).unwrap();
    let mut network = Network::new(&space, &choices, &data, recipe.scale, &mut rng).unwrap();
    network.fit(&data, &recipe, &mut rng, |_, _| Ok(())).unwrap();
    (network, data)
}

fn asked(attacks: &[&str]) -> Robustness {
    let epsilon = vec![Radius::new(8.0 / 255.0).unwrap(), Radius::new(24.0 / 255.0).unwrap()];
    Robustness {
        epsilon,
        attacks: attacks.iter().map(|attack| attack.parse().unwrap()).collect(),
        images: Some(200),
    }
}

#[test]
fn stronger_attacks_leave_less_and_the_worst_is_no_more_than_any() {
    let (mut network, data) = trained(None);
    let all = asked(&["fgsm", "pgd-20", "cw-40", "apgd-ce-20", "apgd-dlr-15x3", "square-100"]);
    let found = all.of(&mut network, &data, &data.test, 3, &GO_ON).unwrap();
    assert_eq!(found, all.of(&mut network, &data, &data.test, 3, &GO_ON).unwrap(), "the same again");
    assert_eq!(found.keys().collect::<std::collections::BTreeSet<_>>(), all.names().iter().collect());
    let clean = Robustness { epsilon: vec![], ..all.clone() };
    assert!(clean.of(&mut network, &data, &data.test, 3, &GO_ON).unwrap().is_empty());
    let first =
        Split { pixels: data.test.pixels[..200 * 64].to_vec(), labels: data.test.labels[..200].to_vec() };
    let clean = 100.0 * network.score(&data, &first, |_, _| {}).unwrap().accuracy;
    for at in ["8", "24"] {
        let of = |name: &str| found[&format!("{name}@{at}")];
        let each = ["fgsm", "pgd20", "cw40", "apgd_ce", "apgd_dlr", "square"].map(of);
        assert!(
            each.iter().all(|accuracy| *accuracy <= clean && *accuracy >= of("worst")),
            "{clean} {found:?}"
        );
        assert!(
            of("pgd20") <= of("fgsm") && of("apgd_ce") <= of("fgsm") && of("apgd_dlr") <= of("square"),
            "{found:?}"
        );
        assert!(of("lipschitz") > 0.0);
    }
    assert!(found["worst@24"] < found["worst@8"] && found["worst@8"] < clean, "{clean} {found:?}");
    // More steps never help the defender.
    let mut before = f64::INFINITY;
    for steps in ["pgd-1", "pgd-5", "pgd-20", "pgd-50"] {
        let now = asked(&[steps]).of(&mut network, &data, &data.test, 3, &GO_ON).unwrap()
            [&format!("{}@24", steps.replace('-', ""))];
        assert!(now <= before, "{steps}: {now} after {before}");
        before = now;
    }
}

#[test]
fn each_way_of_adversarial_training_makes_robust() {
    let attack = Attack { epsilon: 24.0 / 255.0, steps: 3 };
    let robust = |adversarial| {
        let (mut network, data) = trained(adversarial);
        asked(&["pgd-10"]).of(&mut network, &data, &data.test, 3, &GO_ON).unwrap()["pgd10@24"]
    };
    let plain = robust(None);
    for adversarial in [
        Adversarial::Pgd { attack },
        Adversarial::Trades { attack, beta: 6.0 },
        Adversarial::Fast { epsilon: attack.epsilon },
        Adversarial::Free { epsilon: attack.epsilon, replays: 3 },
    ] {
        let found = robust(Some(adversarial));
        assert!(found > plain + 10.0, "{adversarial:?}: {found} over {plain}");
    }
}

#[test]
fn attacks_stop_when_they_are_asked_to() {
    let (mut network, data) = trained(None);
    let error = asked(&["fgsm"]).of(&mut network, &data, &data.test, 3, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(error, TrainingError::Stopped));
    // Few large images at a time, many small ones, and always whole blocks.
    assert_eq!([1, 64, 3 * 32 * 32, 3 * 224 * 224].map(together), [262_144, 4_096, 64, 64]);
}

#[test]
fn what_is_no_number_is_said() {
    let (mut network, data) = trained(None);
    let (_, affine) = network.parameters().iter().find(|(name, _)| name.contains("norm1")).unwrap();
    affine.set(&affine.affine(f64::NAN, 0.0).unwrap()).unwrap();
    let error = asked(&["fgsm"]).of(&mut network, &data, &data.test, 3, &GO_ON).unwrap_err();
    assert!(error.to_string().contains("no number of image 0"), "{error}");
}

#[test]
fn recipes_of_adversarial_training_that_cannot_be_followed_are_refused() {
    let attack = Attack { epsilon: 8.0, steps: 3 };
    for (adversarial, says) in [
        (Adversarial::Pgd { attack }, "do you mean 8/255?"),
        (Adversarial::Trades { attack: Attack { epsilon: 0.1, steps: 0 }, beta: 6.0 }, "at least one step"),
        (Adversarial::Trades { attack: Attack { epsilon: 0.1, steps: 1 }, beta: f32::NAN }, "beta"),
        (Adversarial::Fast { epsilon: 0.0 }, "above 0"),
        (Adversarial::Free { epsilon: 0.1, replays: 0 }, "1 to 64"),
        (Adversarial::Free { epsilon: 8.0, replays: 2 }, "do you mean 8/255?"),
    ] {
        let error = recipe(Some(adversarial)).check(&data::digits()).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let free =
        Recipe { continue_shorter: true, ..recipe(Some(Adversarial::Free { epsilon: 0.1, replays: 2 })) };
    assert!(free.check(&data::digits()).unwrap_err().contains("continue_shorter"));
}
