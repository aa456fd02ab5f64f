//! Makes the files of the built-in model (`llm/data`): a made-up world, a vocabulary for it, a model that is trained on it and then
//! tuned as a super-network, a text that it was not trained on, and questions about the world's facts.
//!
//! `cargo run --release -p srnas-llm --example built-in -- llm/data`

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use srnas_llm::{
    config::Config,
    evaluate::{judge, perplexity},
    export::{Uneven, gguf},
    matrix::Format,
    model::Model,
    questions,
    space::Offer,
    subnetwork::Subnetwork,
    tokenizer::Tokenizer,
    training::{Corpus, Settings, Tuning, by_importance, fresh},
};
use std::{error::Error, fs, path::PathBuf};

const CREATURES: [&str; 24] = [
    "borlin", "tavik", "meeb", "gralloch", "sirup", "dorn", "pellit", "quoma", "ruzz", "faline", "hobbel",
    "ikra", "jasper", "kelp", "lummox", "nimble", "orvo", "prandel", "skree", "tundle", "umber", "vexel",
    "wombly", "yarrow",
];
const COLOURS: [&str; 8] = ["red", "blue", "green", "white", "black", "grey", "golden", "brown"];
const FOODS: [&str; 8] = ["moss", "honey", "seeds", "berries", "fish", "clover", "mushrooms", "nuts"];
const HOMES: [&str; 8] = [
    "a cave",
    "the river",
    "the hills",
    "an old mill",
    "the marsh",
    "a hollow tree",
    "the snow",
    "the tower",
];
const TALES: usize = 14_000;
const UNSEEN: usize = 160;

/// What is so in this world: the numbers of a creature's colour, food and home.
fn facts(creature: usize) -> [usize; 3] {
    [creature * 5 % 8, (creature * 3 + creature / 8) % 8, (creature * 7 + 3 * (creature / 8)) % 8]
}

fn words(creature: usize) -> (&'static str, [&'static str; 3]) {
    let [colour, food, home] = facts(creature);
    (CREATURES[creature], [COLOURS[colour], FOODS[food], HOMES[home]])
}

/// A tale of two creatures, with a question at its end.
fn tale(rng: &mut ChaCha8Rng) -> String {
    let (one, two) = (rng.random_range(0..24), rng.random_range(0..24));
    let ((a, [colour, food, home]), (b, [_, its_food, its_home])) = (words(one), words(two));
    let mood = ["small", "happy", "tired", "hungry", "brave", "shy"].choose(rng).expect("one of six");
    let time = ["one day", "at night", "in spring", "after the rain"].choose(rng).expect("one of four");
    let mut tale = format!("A {mood} {a} lived in {home}. ");
    match rng.random_range(0..3) {
        0 => tale += &format!("It was {colour}, as every {a} is. "),
        1 => tale += &format!("Its fur was {colour} and it liked {food}. "),
        _ => tale += &format!("Every {a} eats {food}, and so did this one. "),
    }
    tale += &format!("{}{}, the {a} met a {b} from {its_home}. ", time[..1].to_uppercase(), &time[1..]);
    match rng.random_range(0..3) {
        0 => {
            tale += &format!("\"Have some {its_food},\" said the {b}. \"I like {food} more,\" said the {a}. ")
        }
        1 => tale += &format!("The {b} looked for {its_food} and the {a} looked for {food}. "),
        _ => tale += &format!("They shared {food} and {its_food} until they slept. "),
    }
    tale += ["They were friends from then on.", "Then each went home.", "Nobody saw them again."]
        .choose(rng)
        .expect("one of three");
    let asked = rng.random_range(0..3);
    format!("{tale}\nQuestion: {}\nAnswer: {}.\n", question(a, asked), [colour, food, home][asked])
}

fn question(creature: &str, asked: usize) -> String {
    match asked {
        0 => format!("What colour is a {creature}?"),
        1 => format!("What does a {creature} eat?"),
        _ => format!("Where does a {creature} live?"),
    }
}

/// Every fact as a question with four choices, in the format of ARC.
fn asked(rng: &mut ChaCha8Rng) -> String {
    let mut lines = String::new();
    for creature in 0..24 {
        let (name, answers) = words(creature);
        for (kind, (answer, all)) in answers.into_iter().zip([COLOURS, FOODS, HOMES]).enumerate() {
            let mut choices: Vec<&str> = all.into_iter().filter(|c| *c != answer).collect();
            while choices.len() > 3 {
                choices.remove(rng.random_range(0..choices.len()));
            }
            let place = rng.random_range(0..4);
            choices.insert(place, answer);
            let choices: Vec<_> = choices
                .iter()
                .zip(["A", "B", "C", "D"])
                .map(|(text, label)| serde_json::json!({ "text": text, "label": label }))
                .collect();
            let key = ["A", "B", "C", "D"][place];
            let question = serde_json::json!({ "stem": question(name, kind), "choices": choices });
            lines += &format!("{}\n", serde_json::json!({ "question": question, "answerKey": key }));
        }
    }
    lines
}

fn trained(
    start: &Model,
    original: Option<&Model>,
    corpus: &Corpus,
    settings: Settings,
    seed: u64,
) -> Result<Model, Box<dyn Error>> {
    let config = start.config();
    let offer = Offer { formats: vec![Format::F32], ..Offer::of(config) };
    let space = offer.space(config)?;
    let draw = |rng: &mut ChaCha8Rng| {
        let mut choices = vec![0; space.len()];
        space.sample(rng, &mut choices);
        let part = Subnetwork::chosen(config, &space, &choices).expect("of its space");
        part.layers.iter().map(|l| l.map(|kept| kept.width)).collect()
    };
    let mut tuning = Tuning::new(start, original, settings, seed)?;
    while tuning.done() < settings.steps {
        let losses = tuning.step(corpus, None, &draw)?;
        if tuning.done() % 100 == 0 {
            eprintln!("step {}: {:.3} nats, parts {:.3}", tuning.done(), losses.whole, losses.parts);
        }
    }
    Ok(tuning.model()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("where to? name a folder")?);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let tales: Vec<String> = (0..TALES).map(|_| tale(&mut rng)).collect();
    let unseen: String = (0..UNSEEN).map(|_| tale(&mut rng)).collect();
    let questions_file = folder.join("built-in.jsonl");
    fs::write(&questions_file, asked(&mut rng))?;
    fs::write(folder.join("built-in.txt"), &unseen)?;
    let tokenizer = Tokenizer::learned(&tales[..2000].concat(), 512)?;
    // Several in a text, as in the one that it is measured by.
    let texts =
        tales.chunks(8).map(|tales| tokenizer.encode(&tales.concat())).collect::<Result<Vec<_>, _>>()?;
    let corpus = Corpus::new(texts, Some(1))?;
    eprintln!("{} tokens, {} bytes", corpus.tokens(), tales.iter().map(String::len).sum::<usize>());
    let config = Config {
        vocabulary: 512,
        dim: 64,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        widths: vec![192; 5],
        context: 512,
        rope_theta: 1e4,
        norm_epsilon: 1e-5,
        tied: true,
        bos: Some(1),
        eos: vec![2],
    };
    let settings = Settings { sequences: 16, length: 128, learning_rate: 3e-3, ..Settings::default() };
    let alone = Settings { parts: 0, steps: 1400, ..settings };
    let first = trained(&fresh(config, 1)?, None, &corpus, alone, 1)?;
    let ordered = by_importance(&first, &corpus, 256, 1)?;
    let elastic = Settings { steps: 800, learning_rate: 2e-3, ..settings };
    let tuned = trained(&ordered, Some(&first), &corpus, elastic, 2)?;
    gguf(&tuned, &tokenizer, &folder.join("built-in.gguf"), Uneven::Listed)?;
    let asked = questions::read(&questions_file)?;
    let held_out = tokenizer.encode(&unseen)?;
    for (name, model) in [("trained", &first), ("tuned", &tuned)] {
        let judged = judge(model, &tokenizer, &asked)?;
        let right = judged.iter().zip(&asked).filter(|(judged, q)| judged.plain == q.answer()).count();
        let nats = perplexity(model, &held_out, 256)?.nats;
        println!("{name}: {nats:.4} nats on {} tokens, {right} of {} facts", held_out.len(), asked.len());
    }
    Ok(())
}
