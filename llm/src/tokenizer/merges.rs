//! Byte-level byte-pair encoding (GPT-2's, as LLaMA 3, SmolLM and Qwen have it): what tokenizer.json says of it in the words of GGUF,
//! and back. A text is first split by one of a few known patterns, which GGUF calls by the name of a model.

use super::pieces::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How texts are split: the name that llama.cpp has for it, the pattern of tokenizer.json (none: GPT-2's own), whether each digit stands
/// alone, and whether a word that is a token is one without being joined.
struct Split {
    name: &'static str,
    pattern: Option<&'static str>,
    digits: bool,
    whole_words: bool,
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const SPLITS: [Split; 5] = [
    Split { name: "gpt-2", pattern: None, digits: false, whole_words: false },
    Split { name: "smollm", pattern: None, digits: true, whole_words: false },
    Split { name: "llama-bpe", pattern: Some(LLAMA_3), digits: false, whole_words: true },
    Split { name: "dbrx", pattern: Some(LLAMA_3), digits: false, whole_words: false },
    Split { name: "qwen2", pattern: Some(QWEN_2), digits: false, whole_words: false },
];

/// A vocabulary of byte strings, and which neighbours join.
#[derive(Clone, Debug, PartialEq)]
pub struct Merges {
    /// By number: text (bytes as GPT-2 writes them), and what it is for.
    pub tokens: Vec<(String, Kind)>,
    /// Neighbours that join, the first ones first: two tokens with a space between.
    pub merges: Vec<String>,
    /// Name of the way in which texts are split.
    pub split: &'static str,
}

impl Merges {
    /// Of what tokenizer.json says.
    ///
    /// # Errors
    /// What is not of this kind, or split in a way that has no name, with what it says.
    pub fn of_json(json: &Value) -> Result<Self, String> {
        let model = &json["model"];
        let whole_words = model["ignore_merges"].as_bool().unwrap_or(false);
        let split = split_of(&json["pre_tokenizer"], whole_words)?;
        if !json["normalizer"].is_null() {
            return Err(format!("it normalises texts by {}, which GGUF has no word for", json["normalizer"]));
        }
        let merges = model["merges"].as_array().ok_or("it has no merges")?;
        let merges = merges.iter().map(|pair| match pair {
            Value::String(pair) => Ok(pair.clone()),
            pair => match (pair[0].as_str(), pair[1].as_str()) {
                (Some(left), Some(right)) => Ok(format!("{left} {right}")),
                _ => Err(format!("its merge {pair} is no pair of tokens")),
            },
        });
        Ok(Self { tokens: tokens(json)?, merges: merges.collect::<Result<_, _>>()?, split })
    }

    /// Of what a GGUF file says.
    ///
    /// # Errors
    /// A way of splitting texts that is not known.
    pub fn of_parts(tokens: Vec<(String, Kind)>, merges: Vec<String>, split: &str) -> Result<Self, String> {
        let known = SPLITS.iter().find(|known| known.name == split).ok_or_else(|| {
            let known: Vec<_> = SPLITS.iter().map(|split| split.name).collect();
            format!("its texts are split as `{split}`; {} are read: give tokenizer.json", known.join(", "))
        })?;
        Ok(Self { tokens, merges, split: known.name })
    }

    /// The same as a tokenizer.json.
    pub fn to_json(&self) -> Value {
        let split = SPLITS.iter().find(|known| known.name == self.split).unwrap_or(&SPLITS[0]);
        let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
        let steps = match (split.pattern, split.digits) {
            (Some(pattern), _) => vec![
                json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false }),
                bytes(false),
            ],
            (None, true) => vec![json!({ "type": "Digits", "individual_digits": true }), bytes(true)],
            (None, false) => vec![bytes(true)],
        };
        let special = |(id, (text, kind)): (usize, &(String, Kind))| {
            (!matches!(kind, Kind::Normal | Kind::Unused)).then(|| {
                json!({ "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == Kind::Control })
            })
        };
        let vocabulary: serde_json::Map<String, Value> =
            self.tokens.iter().enumerate().map(|(id, (text, _))| (text.clone(), id.into())).collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.tokens.iter().enumerate().filter_map(special).collect::<Vec<_>>(),
            "normalizer": null,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
            "post_processor": null,
            "decoder": bytes(true),
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": split.whole_words,
                "vocab": vocabulary, "merges": self.merges },
        })
    }
}

/// Whether a tokenizer.json is of this kind.
pub fn is_byte_level(json: &Value) -> bool {
    json["model"]["type"] == "BPE" && steps(&json["pre_tokenizer"]).any(|step| step["type"] == "ByteLevel")
}

/// The steps in which texts are split.
fn steps(pre_tokenizer: &Value) -> impl Iterator<Item = &Value> {
    let listed = pre_tokenizer["pretokenizers"].as_array().map(Vec::as_slice);
    listed.unwrap_or(std::slice::from_ref(pre_tokenizer)).iter()
}

fn split_of(pre_tokenizer: &Value, whole_words: bool) -> Result<&'static str, String> {
    let (mut pattern, mut digits, mut by_gpt_2) = (None, false, false);
    let unknown = || format!("it splits texts by {pre_tokenizer}, which GGUF has no word for");
    for step in steps(pre_tokenizer) {
        match step["type"].as_str() {
            Some("ByteLevel") if step["add_prefix_space"] == false => {
                by_gpt_2 = step["use_regex"].as_bool().unwrap_or(true);
            }
            Some("Digits") if step["individual_digits"] == true => digits = true,
            Some("Split") if step["behavior"] == "Isolated" && step["invert"] == false => {
                pattern = step["pattern"]["Regex"].as_str();
                pattern.ok_or_else(unknown)?;
            }
            _ => return Err(unknown()),
        }
    }
    let same = |split: &&Split| {
        split.pattern == pattern
            && split.digits == digits
            && split.pattern.is_none() == by_gpt_2
            && split.whole_words == whole_words
    };
    SPLITS.iter().find(same).map(|split| split.name).ok_or_else(unknown)
}

/// All tokens of a tokenizer.json by their numbers, and what they are for.
pub fn tokens(json: &Value) -> Result<Vec<(String, Kind)>, String> {
    let mut all = BTreeMap::new();
    let number =
        |id: &Value, text: &str| id.as_u64().ok_or(format!("its token `{text}` has the number {id}"));
    for (text, id) in json["model"]["vocab"].as_object().ok_or("it has no vocabulary")? {
        all.insert(number(id, text)?, (text.clone(), Kind::Normal));
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let text = added["content"].as_str().unwrap_or_default();
        let kind = if added["special"] == true { Kind::Control } else { Kind::UserDefined };
        all.insert(number(&added["id"], text)?, (text.into(), kind));
    }
    match all.keys().zip(0..).all(|(id, place)| *id == place) {
        true => Ok(all.into_values().collect()),
        false => Err("the numbers of its tokens have gaps".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as GPT-2 writes them, a few joins, and a token for the beginning of a text.
    pub(crate) fn small(split: &'static str) -> Merges {
        let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
        let mut shifted = 256..;
        let mut of = |b| if printable(b) { b } else { shifted.next().unwrap_or(b) };
        let bytes = (0..256).map(|b| char::from_u32(of(b)).unwrap().to_string());
        let joined = ["th", "Ġth", "Ġthe", "12", "123", "ab"].map(String::from);
        let mut tokens: Vec<_> = bytes.chain(joined).map(|text| (text, Kind::Normal)).collect();
        tokens.push(("<|begin|>".into(), Kind::Control));
        let merges = ["t h", "Ġ th", "Ġth e", "1 2", "12 3", "a b"].map(String::from).to_vec();
        Merges { tokens, merges, split }
    }

    #[test]
    fn what_a_file_says_comes_back_whatever_splits_its_texts() {
        for Split { name, .. } in SPLITS {
            let merges = small(name);
            let json = merges.to_json();
            assert!(is_byte_level(&json));
            assert_eq!(Merges::of_json(&json).unwrap(), merges, "{name}");
            let tokenizer: tokenizers::Tokenizer = json.to_string().parse().unwrap();
            let read = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            assert_eq!(read(" the"), [258], "{name}");
            let alone = ["smollm", "qwen2"].contains(&name);
            assert_eq!(read("123").len(), if alone { 3 } else { 1 }, "{name}");
            assert_eq!(tokenizer.decode(&read("é the 12 ab\n"), true).unwrap(), "é the 12 ab\n");
        }
    }

    #[test]
    fn what_has_no_word_is_refused_with_what_it_says() {
        let changed = |path: &str, value: Value| {
            let mut json = small("gpt-2").to_json();
            *json.pointer_mut(path).unwrap() = value;
            Merges::of_json(&json).unwrap_err()
        };
        let lower = json!({ "type": "Lowercase" });
        assert!(changed("/normalizer", lower).contains("Lowercase"));
        assert!(changed("/pre_tokenizer", json!({ "type": "Whitespace" })).contains("Whitespace"));
        assert!(changed("/model/vocab", json!({ "a": 0, "b": 2 })).contains("gaps"));
        assert!(changed("/model/merges", json!([["a"]])).contains("no pair"));
        assert!(changed("/model/ignore_merges", json!(true)).contains("no word"));
        assert!(Merges::of_parts(Vec::new(), Vec::new(), "tekken").unwrap_err().contains("smollm"));
    }
}
