//! Language models end to end. A tiny model is drawn from a seed; where SRNAS_BENCH_SOURCES names the published material
//! (`llama/stories260K.bin` …) it is checked too, and where SRNAS_LLM_PYTHON names a Python with torch, transformers and
//! cyllama, so is the agreement with these.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use srnas_llm::{
    evaluate::{judge, perplexity, speed},
    export::{Uneven, gguf, hugging_face},
    generate::{Sampling, generate},
    matrix::Format,
    model::Model,
    questions,
    subnetwork::{Kept, Subnetwork},
    tokenizer::Tokenizer,
    weights,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const GREEDY: Sampling = Sampling { temperature: 0.0, seed: 0 };

/// A llama2.c checkpoint of random weights: 4 heads that share 2 KV heads, 2 layers, tied or untied.
fn tiny(folder: &Path, tied: bool) -> PathBuf {
    let (dim, width, layers, heads, kv, vocabulary, context) = (32, 96, 3, 4, 2, 263, 64);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let signed = if tied { vocabulary } else { -vocabulary };
    let mut bytes: Vec<u8> =
        [dim, width, layers, heads, kv, signed, context].iter().flat_map(|n: &i32| n.to_le_bytes()).collect();
    let (attention, mlp) = (2 * dim * dim + 2 * dim * dim * kv / heads + 2 * dim, 3 * dim * width);
    let numbers = vocabulary * dim * if tied { 1 } else { 2 }
        + layers * (attention + mlp)
        + dim
        + context * dim / heads;
    bytes.extend((0..numbers).flat_map(|_| rng.random_range(-0.5f32..0.5).to_le_bytes()));
    let path = folder.join(format!("tiny-{tied}.bin"));
    fs::write(&path, bytes).unwrap();
    path
}

/// llama2.c's tokenizer of 263 tokens: bytes and four letters.
fn tiny_tokenizer(folder: &Path) -> PathBuf {
    let mut tokens: Vec<String> = ["<unk>", "\n<s>\n", "\n</s>\n"].map(String::from).to_vec();
    tokens.extend((0..256).map(|b| format!("<0x{b:02X}>")));
    tokens.extend([" a", "a", "b", " "].map(String::from));
    let mut bytes = 9u32.to_le_bytes().to_vec();
    for (i, token) in tokens.iter().enumerate() {
        bytes.extend((-(i as f32)).to_le_bytes());
        bytes.extend((token.len() as u32).to_le_bytes());
        bytes.extend(token.as_bytes());
    }
    let path = folder.join("tokenizer.bin");
    fs::write(&path, bytes).unwrap();
    path
}

fn logits(model: &Model, tokens: &[u32]) -> Vec<f32> {
    model.run(tokens, &mut model.cache(), 1).unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_cache_changes_nothing_and_a_context_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights::load(&tiny(folder.path(), true)).unwrap();
    let tokens = [1, 5, 200, 7, 7, 90];
    let whole = model.run(&tokens, &mut model.cache(), tokens.len()).unwrap();
    let mut cache = model.cache();
    for (i, (&token, expected)) in tokens.iter().zip(whole.chunks(263)).enumerate() {
        assert!(furthest(&model.run(&[token], &mut cache, 1).unwrap(), expected) < 1e-4, "token {i}");
    }
    cache.truncate(2, model.config());
    assert!(furthest(&model.run(&tokens[2..], &mut cache, 1).unwrap(), &whole[5 * 263..]) < 1e-4);
    assert!(model.run(&[], &mut model.cache(), 1).is_err());
    assert!(model.run(&[263], &mut model.cache(), 1).unwrap_err().to_string().contains("263"));
    assert!(model.run(&[1; 65], &mut model.cache(), 1).unwrap_err().to_string().contains("context of 64"));
    assert_eq!(generate(&model, &[1; 60], 100, GREEDY).unwrap().tokens.len(), 5, "5 more fill the context");
    let drawn = |seed| generate(&model, &[1], 20, Sampling { temperature: 1.0, seed }).unwrap().tokens;
    assert_eq!(drawn(4), drawn(4));
    assert_ne!(drawn(4), drawn(5));
}

#[test]
fn what_is_exported_is_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    for tied in [true, false] {
        let model = weights::load(&tiny(folder.path(), tied)).unwrap();
        let tokens = [1, 5, 200, 7, 7, 90];
        let layers = vec![
            Some(Kept { width: 96, format: Format::F32 }),
            None,
            Some(Kept { width: 40, format: Format::F32 }),
        ];
        let part = model
            .cut(&Subnetwork { layers, embedding: Format::F32, kv_heads: model.config().kv_heads }, None)
            .unwrap();
        for (name, model) in [("whole", &model), ("part", &part)] {
            let expected = logits(model, &tokens);
            let to = folder.path().join(format!("{name}-{tied}"));
            hugging_face(model, &tokenizer, &to).unwrap();
            let again = weights::load(&to).unwrap();
            assert!(furthest(&logits(&again, &tokens), &expected) < 1e-5);
            assert!(again.config().widths.iter().all(|w| *w == 96), "one width, by zeros");
            assert_eq!(
                Tokenizer::load(&to).unwrap().encode("a ba é").unwrap(),
                tokenizer.encode("a ba é").unwrap()
            );
            assert!(
                hugging_face(model, &tokenizer, &to).unwrap_err().to_string().contains("is there already")
            );
            for uneven in [Uneven::Listed, Uneven::Padded] {
                let file = folder.path().join("model.gguf");
                gguf(model, &tokenizer, &file, uneven).unwrap();
                let again = weights::load(&file).unwrap();
                assert!(furthest(&logits(&again, &tokens), &expected) < 1e-5, "{name} {uneven:?}");
                let widths = if uneven == Uneven::Listed {
                    &model.config().widths[..]
                } else {
                    &again.config().widths
                };
                assert_eq!(again.config().widths, widths);
                assert_eq!(
                    Tokenizer::load(&file).unwrap().encode("a ba é").unwrap(),
                    tokenizer.encode("a ba é").unwrap()
                );
            }
        }
        // Blocks are written as they are in memory.
        for format in [Format::Q8_0, Format::Q4_0] {
            let quantised = model.cut(&Subnetwork::whole(model.config(), format), None).unwrap();
            let file = folder.path().join("quantised.gguf");
            gguf(&quantised, &tokenizer, &file, Uneven::Listed).unwrap();
            let again = weights::load(&file).unwrap();
            assert_eq!(logits(&again, &tokens), logits(&quantised, &tokens), "{format}");
            assert_eq!(again.bytes(), quantised.bytes());
        }
    }
}

#[test]
fn what_is_kept_follows_the_order_of_channels() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights::load(&tiny(folder.path(), true)).unwrap();
    let tokens = [1, 5, 200];
    let whole = Subnetwork::whole(model.config(), Format::F32);
    let reversed: Vec<Vec<usize>> = vec![(0..96).rev().collect(); 3];
    let turned = model.cut(&whole, Some(&reversed)).unwrap();
    assert!(
        furthest(&logits(&turned, &tokens), &logits(&model, &tokens)) < 1e-4,
        "all channels, whatever their order"
    );
    let narrow = Subnetwork {
        layers: vec![Some(Kept { width: 32, format: Format::F32 }); 3],
        embedding: Format::F32,
        kv_heads: model.config().kv_heads,
    };
    let last = model.cut(&narrow, Some(&reversed)).unwrap();
    let first_of_turned = turned.cut(&narrow, None).unwrap();
    assert_eq!(logits(&last, &tokens), logits(&first_of_turned, &tokens));
    assert!(furthest(&logits(&last, &tokens), &logits(&model, &tokens)) > 1e-3, "channels do something");
    let twice: Vec<Vec<usize>> = vec![vec![0; 96]; 3];
    assert!(model.cut(&narrow, Some(&twice)).unwrap_err().to_string().contains("once"));
    let none = Subnetwork { layers: vec![None; 3], ..narrow.clone() };
    let tokenizer = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    let empty = model.cut(&none, None).unwrap();
    assert!(gguf(&empty, &tokenizer, &folder.path().join("x.gguf"), Uneven::Listed).is_err());
    for width in [0, 97] {
        let wrong =
            Subnetwork { layers: vec![Some(Kept { width, format: Format::F32 }); 3], ..narrow.clone() };
        assert!(model.cut(&wrong, None).is_err());
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), false);
    let model = weights::load(&path).unwrap();
    let tokenizer = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    let good = folder.path().join("good");
    hugging_face(&model, &tokenizer, &good).unwrap();
    let refused = |change: &dyn Fn(&Path), said: &str| {
        let copy = folder.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&good).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        change(&copy);
        let error = srnas_basics::text::with_causes(&weights::load(&copy).unwrap_err());
        assert!(error.contains(said), "{error}");
    };
    let rewritten = |file: &'static str, from: &'static str, to: &'static str| {
        move |copy: &Path| {
            let bytes = fs::read(copy.join(file)).unwrap();
            let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            fs::write(copy.join(file), [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat())
                .unwrap();
        }
    };
    let st = "model.safetensors";
    refused(
        &rewritten("config.json", "\"intermediate_size\": 96", "\"intermediate_size\": 95"),
        "mlp.gate_proj.weight` has shape [96, 32]",
    );
    refused(&rewritten("config.json", "\"mlp_bias\": false", "\"mlp_bias\": true"), "mlp_bias");
    refused(&rewritten(st, "model.norm.weight", "model.morn.weight"), "no tensor `model.norm.weight`");
    refused(&rewritten(st, "\"F32\"", "\"I32\""), "I32; F32, F16 and BF16 are read");
    refused(&|copy| fs::remove_file(copy.join("config.json")).unwrap(), "config.json");
    refused(&|copy| fs::remove_file(copy.join(st)).unwrap(), st);
    refused(&|copy| fs::write(copy.join(st), b"short").unwrap(), "is no safetensors file");
    refused(
        &|copy| {
            let bytes = fs::read(copy.join(st)).unwrap();
            fs::write(copy.join(st), &bytes[..bytes.len() - 1]).unwrap();
        },
        "where its header promises",
    );
    refused(
        &|copy| {
            let index = json!({ "weight_map": { "model.norm.weight": "model-00001-of-00002.safetensors" } });
            fs::write(copy.join("model.safetensors.index.json"), index.to_string()).unwrap();
        },
        "model-00001-of-00002.safetensors",
    );
    for cut in [0, 3, 20, 1000] {
        let short = folder.path().join("short.bin");
        fs::write(&short, &fs::read(&path).unwrap()[..cut]).unwrap();
        assert!(weights::load(&short).is_err());
        let file = folder.path().join("model.gguf");
        gguf(&model, &tokenizer, &file, Uneven::Listed).unwrap();
        fs::write(&short, &fs::read(&file).unwrap()[..cut]).unwrap();
        assert!(weights::load(&short).is_err());
    }
    let mut other = model.config().clone();
    other.vocabulary = 512;
    assert!(tokenizer.check(&other).unwrap_err().to_string().contains("263 tokens and the model 512"));
}

/// Rewrites a model's tensors as another type.
fn retyped(folder: &Path, dtype: Dtype, of: fn(f32) -> [u8; 2]) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let halves = |tensor: &TensorView| -> Vec<u8> {
        let floats = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        floats.flat_map(of).collect()
    };
    let all: Vec<(String, Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, t)| (name.to_string(), t.shape().to_vec(), halves(&t))).collect();
    let views = all
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn halves_of_both_kinds_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights::load(&tiny(folder.path(), false)).unwrap();
    let tokenizer = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    let tokens = [1, 5, 200, 7];
    for (dtype, near) in [(Dtype::F16, 1e-2), (Dtype::BF16, 1e-1)] {
        let of = match dtype {
            Dtype::F16 => |w: f32| half::f16::from_f32(w).to_le_bytes(),
            _ => |w: f32| half::bf16::from_f32(w).to_le_bytes(),
        };
        let halved = folder.path().join(format!("{dtype:?}"));
        hugging_face(&model, &tokenizer, &halved).unwrap();
        retyped(&halved, dtype, of);
        let read = weights::load(&halved).unwrap();
        let apart = furthest(&logits(&read, &tokens), &logits(&model, &tokens));
        assert!(apart > 0.0 && apart < near, "{dtype:?}: {apart}");
        // A half is a float, so that nothing more is lost.
        let again = folder.path().join(format!("{dtype:?}-again"));
        hugging_face(&read, &tokenizer, &again).unwrap();
        assert_eq!(logits(&weights::load(&again).unwrap(), &tokens), logits(&read, &tokens));
    }
}

/// A tokenizer.json of GPT-2's kind, 263 tokens: the bytes, some joins, and one for the beginning of a text.
fn byte_level(folder: &Path) -> PathBuf {
    let printable = |b: &u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let shifted: Vec<u32> = (0..256).filter(|b| !printable(b)).collect();
    let of = |b: u32| shifted.iter().position(|s| *s == b).map_or(b, |place| 256 + place as u32);
    let bytes = (0..256).map(|b| char::from_u32(of(b)).unwrap().to_string());
    let tokens = bytes.chain(["th", "Ġth", "Ġthe", "12", "123", "ab"].map(String::from));
    let vocabulary: serde_json::Map<String, Value> = tokens.zip(0..).map(|(t, id)| (t, id.into())).collect();
    let json = json!({
        "version": "1.0", "normalizer": null, "post_processor": null,
        "added_tokens": [{ "id": 262, "content": "<|begin|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true }],
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }] },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocabulary,
            "merges": [["t", "h"], ["Ġ", "th"], ["Ġth", "e"], ["1", "2"], ["12", "3"], ["a", "b"]] },
    });
    let path = folder.join("tokenizer.json");
    fs::write(&path, json.to_string()).unwrap();
    path
}

/// Texts with what tokenizers trip over.
const TEXTS: [&str; 5] = ["then the theatre", "abab 123 x12", " a  b\n\n c", "é ü 😀", "it's 3.50"];

#[test]
fn a_tokenizer_json_alone_becomes_gguf_and_is_read_from_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights::load(&tiny(folder.path(), true)).unwrap();
    let pieces = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    let published = folder.path().join("published");
    hugging_face(&model, &pieces, &published).unwrap();
    for path in [byte_level(folder.path()), published.join("tokenizer.json")] {
        let tokenizer = Tokenizer::load(&path).unwrap();
        let file = folder.path().join("model.gguf");
        gguf(&model, &tokenizer, &file, Uneven::Listed).unwrap();
        let again = Tokenizer::load(&file).unwrap();
        for text in TEXTS {
            assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{path:?}: {text}");
        }
        let Some(said) = independent(&["tokens", file.to_str().unwrap(), &json!(TEXTS).to_string()]) else {
            continue;
        };
        let theirs: Vec<Vec<u32>> = serde_json::from_value(said).unwrap();
        for (text, theirs) in TEXTS.iter().zip(theirs) {
            assert_eq!(theirs, tokenizer.encode(text).unwrap(), "llama.cpp, {path:?}: {text}");
        }
    }
}

#[test]
fn texts_and_questions_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights::load(&tiny(folder.path(), true)).unwrap();
    let tokenizer = Tokenizer::load(&tiny_tokenizer(folder.path())).unwrap();
    let tokens = tokenizer.encode("ab a b ba é").unwrap();
    let one = perplexity(&model, &tokens, 4).unwrap();
    assert_eq!((one.tokens, one.windows), (tokens.len(), tokens.len().div_ceil(4)));
    // The same by hand: each window from token 1 on.
    let mut nats = 0.0;
    for window in tokens.chunks(4) {
        for i in 0..window.len() {
            let logits = logits(&model, &[&[1], &window[..i]].concat());
            let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
            nats += sum.ln() - f64::from(logits[window[i] as usize]);
        }
    }
    assert!((one.nats - nats / tokens.len() as f64).abs() < 1e-4);
    assert!(perplexity(&model, &[], 4).unwrap_err().to_string().contains("empty"));
    assert!(perplexity(&model, &tokens, 0).is_err() && perplexity(&model, &tokens, 65).is_err());
    let choice = |context: &str, text: &str| questions::Choice { context: context.into(), text: text.into() };
    let question = questions::Question::new(vec![choice("a ", "b"), choice("a", " b")], 0).unwrap();
    let judged = judge(&model, &tokenizer, &[question]).unwrap();
    assert_eq!(judged[0].scores[0], judged[0].scores[1], "spaces between both belong to the second");
    assert_eq!((judged[0].plain, judged[0].normalised), (0, 0));
    let long = questions::Question::new(vec![choice("", &"b".repeat(70)), choice("", "a")], 0).unwrap();
    assert!(judge(&model, &tokenizer, &[long]).is_err());
    let context = questions::Question::new(vec![choice(&"ab".repeat(70), "b"), choice("", "a")], 0).unwrap();
    assert!(judge(&model, &tokenizer, &[context]).is_ok(), "the first of a long context is left out");
    let speed = speed(&model, 8, 8, 2).unwrap();
    assert!(speed.prompt > 0.0 && speed.generation > 0.0);
}

/// The published material, where there is any.
fn published() -> Option<PathBuf> {
    let folder = env::var_os("SRNAS_BENCH_SOURCES").map(|f| PathBuf::from(f).join("llama"));
    let folder = folder.filter(|f| f.is_dir());
    if folder.is_none() {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder with llama/");
    }
    folder
}

fn stories(folder: &Path) -> (Model, Tokenizer) {
    let model = weights::load(&folder.join("stories260K.bin")).unwrap();
    let tokenizer = Tokenizer::load(&folder.join("tok512.bin")).unwrap();
    tokenizer.check(model.config()).unwrap();
    (model, tokenizer)
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(fs::File::open(path).unwrap()),
        &mut text,
    )
    .unwrap();
    text
}

#[test]
fn stories260k_tells_the_published_story() {
    let Some(folder) = published() else { return };
    let (model, tokenizer) = stories(&folder);
    // As its documentation has it (doc/stories260K.md of llama2.c).
    let story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a \
        big, red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" Lily \
        was sad and didn't know what to do. She said, \"I want to play with your ball, but I can't find it.\"\nLily was sad and \
        didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\nLily didn't want to help her mom, so \
        she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, \"Don't worry, Lily. We can help you.\n";
    let written = generate(&model, &[1], 256, GREEDY).unwrap();
    assert_eq!(tokenizer.decode(&written.tokens).unwrap().trim_end(), story.trim_end());
}

#[test]
fn quantised_weights_cost_what_was_measured_elsewhere() {
    let Some(folder) = published() else { return };
    let (model, tokenizer) = stories(&folder);
    let text = unpacked(&folder.join("tinystories_val_794k.txt.gz"));
    let tokens = tokenizer.encode(&text).unwrap();
    let tokens = &tokens[..tokens.len().min(135_000)];
    let nats = |format| {
        let model = model.cut(&Subnetwork::whole(model.config(), format), None).unwrap();
        perplexity(&model, tokens, 256).unwrap().nats
    };
    let [f32, q8, q4] = Format::ALL.map(nats);
    eprintln!("nats a token of {} tokens: f32 {f32:.4}, q8_0 {q8:.4}, q4_0 {q4:.4}", tokens.len());
    // Stories from their beginning, as transformers has them (150 stories, 50,877 tokens): 1.21798.
    let lines = text.replace("\n\n", "\n");
    let (mut stories, mut sum, mut count) = (Vec::<String>::new(), 0.0, 0);
    for line in lines.lines() {
        match stories.last_mut() {
            _ if line.starts_with("Once upon a time") => stories.push(line.into()),
            Some(story) => *story += &format!("\n{line}"),
            None => {}
        }
    }
    for story in stories.iter().take(150) {
        let mut tokens = tokenizer.encode(story.trim()).unwrap();
        tokens.truncate(511);
        let p = perplexity(&model, &tokens, 512).unwrap();
        (sum, count) = (sum + p.nats * p.tokens as f64, count + p.tokens);
    }
    assert!((sum / count as f64 - 1.21798).abs() < 1e-3, "{} over {count}", sum / count as f64);
    assert!(q8 - f32 <= 0.002, "{}", q8 - f32);
    assert!((0.08..0.18).contains(&(q4 - f32)), "{}", q4 - f32);
}

#[test]
fn the_published_question_files_are_read() {
    let Some(folder) = published() else { return };
    for (file, count) in [
        ("mcq/ARC-Challenge-Test.jsonl.gz", 1150),
        ("mcq/ARC-Challenge-Dev.jsonl.gz", 294),
        ("mcq/TruthfulQA.csv.gz", 817),
        ("mcq/winogrande_test.json.gz", 1267),
        ("blimp/causative.jsonl.gz", 1000),
    ] {
        assert_eq!(questions::read(&folder.join(file)).unwrap().len(), count, "{file}");
    }
    for entry in fs::read_dir(folder.join("mmlu")).unwrap() {
        let path = entry.unwrap().path();
        let questions = questions::read(&path).unwrap();
        assert!(
            questions.len() >= 5 && questions.iter().all(|q| q.choices().len() == 4),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_llama_2_vocabulary_reads_the_same_from_both_formats() {
    let Some(folder) = published() else { return };
    let model = Tokenizer::load(&folder.join("llama2_tokenizer.model")).unwrap();
    let gguf = Tokenizer::load(&folder.join("ggml-vocab-llama-spm.gguf")).unwrap();
    assert_eq!((model.len(), gguf.len()), (32_000, 32_000));
    let text = "Hello world, it's 2026!\n\n  Größe: 3½ “quoted” 你好 🦙";
    assert_eq!(model.encode(text).unwrap(), gguf.encode(text).unwrap());
    assert_eq!(model.decode(&model.encode(text).unwrap()).unwrap(), text);
    // As LLaMA's own tokenizer has it.
    assert_eq!(model.encode("Hello world").unwrap(), [15043, 3186]);
}

/// What another program makes of it, where there is one.
fn independent(arguments: &[&str]) -> Option<Value> {
    let Some(python) = env::var_os("SRNAS_LLM_PYTHON") else {
        eprintln!("skipped: SRNAS_LLM_PYTHON names no Python with torch, transformers and cyllama");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let ran = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8(ran.stdout).unwrap();
    Some(serde_json::from_str(said.lines().last().unwrap()).unwrap())
}

#[test]
fn logits_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    for tied in ["tied", "untied"] {
        let path = folder.path().join(tied);
        let Some(_) = independent(&["make", path.to_str().unwrap(), tied]) else { return };
        assert!(path.join("model.safetensors.index.json").exists(), "in shards");
        let model = weights::load(&path).unwrap();
        let tokens: Vec<u32> = (0..40).map(|i| i * 37 % 160).collect();
        let theirs = independent(&["logits", path.to_str().unwrap(), &json!(tokens).to_string()]).unwrap();
        let theirs: Vec<f32> = serde_json::from_value(theirs).unwrap();
        let off = furthest(&logits(&model, &tokens), &theirs);
        let largest = theirs.iter().fold(0f32, |most, l| most.max(l.abs()));
        eprintln!("{tied}: logits up to {largest:.2}, furthest apart {off:.1e}");
        assert!(off < 1e-4, "{off}");
    }
}

#[test]
fn other_programs_write_the_same_from_what_is_exported() {
    let Some(material) = published() else { return };
    let (model, tokenizer) = stories(&material);
    let folder = tempfile::tempdir().unwrap();
    let (dir, file) = (folder.path().join("hf"), folder.path().join("m.gguf"));
    let f32 = |width| Some(Kept { width, format: Format::F32 });
    let uneven = Subnetwork {
        layers: vec![f32(172), f32(128), None, f32(160), f32(172)],
        embedding: Format::F32,
        kv_heads: model.config().kv_heads,
    };
    let prompt: Vec<u32> = [vec![1], tokenizer.encode("Once upon a time").unwrap()].concat();
    let asked = json!(prompt).to_string();
    for (name, model) in [("whole", model.clone()), ("part", model.cut(&uneven, None).unwrap())] {
        let ours = generate(&model, &prompt, 60, GREEDY).unwrap().tokens;
        assert!(ours.len() == 60, "the text does not end before");
        let _ = fs::remove_dir_all(&dir);
        hugging_face(&model, &tokenizer, &dir).unwrap();
        let Some(theirs) = independent(&["greedy", dir.to_str().unwrap(), &asked, "60"]) else { return };
        assert_eq!(theirs, json!(ours), "transformers, {name}");
        for uneven in [Uneven::Listed, Uneven::Padded] {
            gguf(&model, &tokenizer, &file, uneven).unwrap();
            let theirs = independent(&["gguf", file.to_str().unwrap(), &asked, "60"]).unwrap();
            assert_eq!(theirs["tokens"], json!(ours), "llama.cpp, {name}, {uneven:?}");
            let speed = speed(&model, prompt.len(), 60, 5).unwrap().generation;
            eprintln!(
                "{name} {uneven:?}: {speed:.0} tokens/s, llama.cpp {:.0}",
                theirs["speed"].as_f64().unwrap()
            );
        }
    }
    let texts: Vec<String> =
        unpacked(&material.join("tinystories_val_794k.txt.gz")).lines().take(200).map(String::from).collect();
    let path = folder.path().join("texts.json");
    fs::write(&path, json!(texts).to_string()).unwrap();
    let theirs = independent(&["encode", dir.to_str().unwrap(), path.to_str().unwrap()]).unwrap();
    let ours: Vec<Vec<u32>> = texts.iter().map(|t| tokenizer.encode(t).unwrap()).collect();
    assert_eq!(theirs, json!(ours), "tokens of 200 texts");
}

#[test]
fn each_choice_is_that_of_an_independent_program() {
    let Some(material) = published() else { return };
    let (model, tokenizer) = stories(&material);
    let mut asked = Vec::new();
    let files = [
        "mcq/ARC-Challenge-Test.jsonl.gz",
        "mcq/TruthfulQA.csv.gz",
        "mcq/winogrande_test.json.gz",
        "mmlu/jurisprudence_test.csv.gz",
        "blimp/causative.jsonl.gz",
    ];
    for file in files {
        asked.extend(questions::read(&material.join(file)).unwrap().into_iter().take(40));
    }
    assert_eq!(asked.len(), 200);
    let folder = tempfile::tempdir().unwrap();
    let (dir, path) = (folder.path().join("hf"), folder.path().join("questions.json"));
    hugging_face(&model, &tokenizer, &dir).unwrap();
    let pairs =
        |q: &questions::Question| q.choices().iter().map(|c| json!([c.context, c.text])).collect::<Vec<_>>();
    fs::write(&path, json!(asked.iter().map(pairs).collect::<Vec<_>>()).to_string()).unwrap();
    let Some(theirs) = independent(&["judge", dir.to_str().unwrap(), path.to_str().unwrap()]) else { return };
    let theirs: Vec<Vec<f64>> = serde_json::from_value(theirs).unwrap();
    let mut furthest = 0f64;
    for (i, (ours, scores)) in judge(&model, &tokenizer, &asked).unwrap().iter().zip(&theirs).enumerate() {
        let off = ours.scores.iter().zip(scores).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        furthest = furthest.max(off);
        let length = |c: &questions::Choice| c.text.trim_start().chars().count() as f64;
        let normalised: Vec<f64> =
            scores.iter().zip(asked[i].choices()).map(|(s, c)| s / length(c)).collect();
        let best = |s: &[f64]| (0..s.len()).fold(0, |b, k| if s[k] > s[b] { k } else { b });
        assert_eq!((ours.plain, ours.normalised), (best(scores), best(&normalised)), "question {i}");
    }
    eprintln!("200 questions: every choice the same, log-likelihoods at most {furthest:.1e} nats apart");
}
