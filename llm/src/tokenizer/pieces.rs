//! Pieces with scores, joined best score first: SentencePiece's BPE (arXiv 1808.06226) as LLaMA has it, with bytes for what
//! no piece covers.

use super::merges;
use serde_json::{Value, json};
use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

/// What a piece is for; the numbers are SentencePiece's and GGUF's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl Kind {
    pub fn of_number(number: i64) -> Option<Self> {
        use Kind::*;
        [Normal, Unknown, Control, UserDefined, Unused, Byte].into_iter().find(|k| *k as i64 == number)
    }
}

/// One token.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its text, with ▁ for a space.
    pub text: String,
    /// The higher, the sooner it is joined.
    pub score: f32,
    pub kind: Kind,
}

impl Piece {
    /// What stands at a place of a model's vocabulary that its tokenizer has no token for.
    pub fn unused(place: usize) -> Self {
        Self { text: format!("[PAD{place}]"), score: 0.0, kind: Kind::Unused }
    }
}

/// A vocabulary of pieces.
#[derive(Clone, Debug)]
pub struct Pieces {
    pieces: Vec<Piece>,
    ids: HashMap<String, u32>,
    bytes: Box<[Option<u32>; 256]>,
    unknown: u32,
    pub bos: u32,
    pub eos: u32,
    /// Whether a text begins with a space of its own.
    pub prefix: bool,
    /// Whether runs of spaces count as one, and those at the ends not at all.
    pub collapse: bool,
}

const SPACE: &str = "▁";

impl Pieces {
    /// A vocabulary; what is wrong with it if it is none.
    pub fn new(pieces: Vec<Piece>, bos: u32, eos: u32, prefix: bool, collapse: bool) -> Result<Self, String> {
        let unknown =
            pieces.iter().position(|p| p.kind == Kind::Unknown).ok_or("it has no token for the unknown")?;
        if bos.max(eos) as usize >= pieces.len() {
            return Err(format!(
                "its tokens {bos} and {eos} for beginning and end are not among its {}",
                pieces.len()
            ));
        }
        let (mut ids, mut bytes) = (HashMap::new(), Box::new([None; 256]));
        for (i, piece) in pieces.iter().enumerate() {
            if piece.score.is_nan() {
                return Err(format!("the score of token {i} is not a number"));
            }
            match piece.kind {
                Kind::Byte => {
                    let hex = piece.text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
                    let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    let byte =
                        byte.ok_or_else(|| format!("token {i} is for a byte and reads `{}`", piece.text))?;
                    bytes[byte as usize] = Some(i as u32);
                }
                Kind::Normal | Kind::UserDefined => {
                    ids.entry(piece.text.clone()).or_insert(i as u32);
                }
                Kind::Unknown | Kind::Control | Kind::Unused => {}
            }
        }
        Ok(Self { pieces, ids, bytes, unknown: unknown as u32, bos, eos, prefix, collapse })
    }

    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        let collapsed;
        let text = if self.collapse {
            collapsed = text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
            collapsed.as_str()
        } else {
            text
        };
        if text.is_empty() {
            return Vec::new();
        }
        let spaced = format!("{}{}", if self.prefix { SPACE } else { "" }, text.replace(' ', SPACE));
        let mut tokens = Vec::new();
        for (start, end) in self.joined(&spaced) {
            match self.ids.get(&spaced[start..end]) {
                Some(&id) => tokens.push(id),
                None => {
                    let of = |byte: &u8| self.bytes[*byte as usize].unwrap_or(self.unknown);
                    tokens.extend(spaced.as_bytes()[start..end].iter().map(of));
                }
            }
        }
        tokens
    }

    /// The spans of a text that are left when no two neighbours join to a piece: of all that would, those with the best
    /// score join first, the leftmost of equals.
    fn joined(&self, text: &str) -> Vec<(usize, usize)> {
        let mut spans: Vec<Span> = text
            .char_indices()
            .enumerate()
            .map(|(i, (at, c))| Span {
                start: at,
                end: at + c.len_utf8(),
                before: i.wrapping_sub(1),
                after: i + 1,
            })
            .collect();
        let n = spans.len();
        let mut heap = BinaryHeap::new();
        let offer = |heap: &mut BinaryHeap<Join>, spans: &[Span], left: usize| {
            let right = spans[left].after;
            if right >= n {
                return;
            }
            let (start, end) = (spans[left].start, spans[right].end);
            if let Some(&id) = self.ids.get(&text[start..end]) {
                heap.push(Join { score: self.pieces[id as usize].score, left, right, end, start });
            }
        };
        (0..n).for_each(|i| offer(&mut heap, &spans, i));
        while let Some(Join { left, right, start, end, .. }) = heap.pop() {
            // Either side may have joined another since.
            let (l, r) = (spans[left], spans[right]);
            if l.start == l.end || r.start == r.end || l.start != start || r.end != end || l.after != right {
                continue;
            }
            spans[left] = Span { end, after: r.after, ..l };
            spans[right].end = spans[right].start;
            if r.after < n {
                spans[r.after].before = left;
            }
            offer(&mut heap, &spans, left);
            if l.before < n {
                offer(&mut heap, &spans, l.before);
            }
        }
        spans.iter().filter(|s| s.start < s.end).map(|s| (s.start, s.end)).collect()
    }

    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            let piece = &self.pieces[token as usize];
            match piece.kind {
                Kind::Control | Kind::Unused => {}
                Kind::Byte => bytes.extend((0..=255u8).find(|b| self.bytes[*b as usize] == Some(token))),
                Kind::Unknown => bytes.extend("\u{fffd}".as_bytes()),
                Kind::Normal | Kind::UserDefined => bytes.extend(piece.text.replace(SPACE, " ").as_bytes()),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if self.prefix { text.strip_prefix(' ').map_or(text.clone(), str::to_string) } else { text }
    }

    /// The same as a `tokenizer.json`: joins listed in the order of their pieces' scores.
    pub fn to_json(&self) -> Value {
        let mut by_score: Vec<usize> =
            (0..self.pieces.len()).filter(|&i| self.ids.contains_key(&self.pieces[i].text)).collect();
        by_score.sort_by(|&a, &b| self.pieces[b].score.total_cmp(&self.pieces[a].score).then(a.cmp(&b)));
        let mut merges = Vec::new();
        for i in by_score {
            let text = &self.pieces[i].text;
            for (at, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(at);
                if self.ids.contains_key(left) && self.ids.contains_key(right) {
                    merges.push(json!([left, right]));
                }
            }
        }
        let vocabulary: serde_json::Map<String, Value> =
            self.pieces.iter().enumerate().map(|(i, p)| (p.text.clone(), i.into())).collect();
        let special = |id: u32| {
            json!({ "id": id, "content": self.pieces[id as usize].text, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
        };
        let bos = &self.pieces[self.bos as usize].text;
        let sequence = |place: &str| {
            vec![
                json!({ "SpecialToken": { "id": bos, "type_id": 0 } }),
                json!({ "Sequence": { "id": place, "type_id": 0 } }),
            ]
        };
        let pair = [sequence("A"), sequence("B")].concat();
        let post_processor = json!({
            "type": "TemplateProcessing", "single": sequence("A"), "pair": pair,
            "special_tokens": { bos: { "id": bos, "ids": [self.bos], "tokens": [bos] } },
        });
        let mut normalizers =
            vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE })];
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if self.prefix {
            normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        if self.collapse {
            normalizers
                .insert(0, json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }));
            normalizers.insert(0, json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
        }
        let mut specials = vec![self.unknown, self.bos, self.eos];
        specials.sort_unstable();
        specials.dedup();
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": specials.into_iter().map(special).collect::<Vec<_>>(),
            "normalizer": { "type": "Sequence", "normalizers": normalizers },
            "pre_tokenizer": null,
            "post_processor": post_processor,
            "decoder": { "type": "Sequence", "decoders": decoders },
            "model": { "type": "BPE", "dropout": null, "unk_token": self.pieces[self.unknown as usize].text,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                "ignore_merges": false, "vocab": vocabulary, "merges": merges },
        })
    }

    /// Of a `tokenizer.json` of this kind: what joins earlier has the better score.
    ///
    /// # Errors
    /// What is of another kind, with what it says.
    pub fn of_json(json: &Value, bos: u32, eos: u32) -> Result<Self, String> {
        let model = &json["model"];
        if model["type"] != "BPE" || model["byte_fallback"] != true {
            return Err(format!(
                "its model is {} {}; byte-pair encoding of bytes, or with bytes for what no piece covers, has a form in GGUF",
                model["type"],
                if model["byte_fallback"] == true { "with bytes" } else { "without bytes" }
            ));
        }
        let mut rank = HashMap::new();
        for (place, pair) in model["merges"].as_array().ok_or("it has no merges")?.iter().enumerate() {
            let joined = match pair {
                Value::String(pair) => pair.replacen(' ', "", 1),
                pair => [&pair[0], &pair[1]].map(|part| part.as_str().unwrap_or_default()).concat(),
            };
            rank.entry(joined).or_insert(place);
        }
        let last = rank.len() as f32;
        let unknown = model["unk_token"].as_str();
        let pieces = merges::tokens(json)?.into_iter().map(|(text, kind)| {
            let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
            let kind = match kind {
                _ if Some(text.as_str()) == unknown => Kind::Unknown,
                Kind::Normal if is_byte => Kind::Byte,
                kind => kind,
            };
            let score = rank.get(&text).map_or(-last, |&rank| -(rank as f32));
            Piece { score: if kind == Kind::Normal { score } else { 0.0 }, text, kind }
        });
        let says = |what: &Value| what.to_string();
        // A space of its own before a text stands in either place.
        let prefix = says(&json["normalizer"]).contains("Prepend")
            || json["pre_tokenizer"]["prepend_scheme"].as_str().is_some_and(|scheme| scheme != "never");
        let collapse = says(&json["normalizer"]).contains("{2,}");
        Self::new(pieces.collect(), bos, eos, prefix, collapse)
    }

    /// `tokenizer_config.json` beside it.
    pub fn config_json(&self) -> Value {
        let text = |id: u32| &self.pieces[id as usize].text;
        json!({ "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": text(self.bos), "eos_token": text(self.eos),
            "unk_token": text(self.unknown), "clean_up_tokenization_spaces": false })
    }
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    before: usize,
    after: usize,
}

/// Two neighbours that would join.
struct Join {
    score: f32,
    left: usize,
    right: usize,
    start: usize,
    end: usize,
}

impl Ord for Join {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left)).then(other.end.cmp(&self.end))
    }
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Join {}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn small(collapse: bool) -> Pieces {
        let mut pieces = vec![
            ("<unk>".to_string(), 0.0, Kind::Unknown),
            ("<s>".into(), 0.0, Kind::Control),
            ("</s>".into(), 0.0, Kind::Control),
        ];
        pieces.extend((0..256).map(|b| (format!("<0x{b:02X}>"), 0.0, Kind::Byte)));
        pieces.extend(
            ["ab", "▁a", "bc", "▁abc"]
                .iter()
                .enumerate()
                .map(|(i, p)| ((*p).to_string(), -(i as f32), Kind::Normal)),
        );
        pieces.extend(["▁", "a", "b", "c"].iter().map(|p| ((*p).to_string(), -1e6, Kind::Normal)));
        let pieces = pieces.into_iter().map(|(text, score, kind)| Piece { text, score, kind }).collect();
        Pieces::new(pieces, 1, 2, true, collapse).unwrap()
    }

    fn texts(pieces: &Pieces, text: &str) -> Vec<String> {
        pieces.encode(text).iter().map(|t| pieces.pieces[*t as usize].text.clone()).collect()
    }

    #[test]
    fn the_best_score_joins_first_and_what_no_piece_covers_is_bytes() {
        let pieces = small(false);
        assert_eq!(texts(&pieces, "abc"), ["▁", "ab", "c"], "ab before ▁a and bc");
        assert_eq!(texts(&pieces, "é"), ["▁", "<0xC3>", "<0xA9>"]);
        assert!(pieces.encode("").is_empty());
        for text in ["abc", " a  b", "é\nb", "▁", "abababab"] {
            assert_eq!(pieces.decode(&pieces.encode(text)), text.replace('▁', " "));
        }
        assert_eq!(texts(&small(true), " a   b "), ["▁a", "▁", "b"]);
    }

    #[test]
    fn the_json_form_reads_texts_the_same() {
        for collapse in [false, true] {
            let pieces = small(collapse);
            let json: tokenizers::Tokenizer = pieces.to_json().to_string().parse().unwrap();
            let back = Pieces::of_json(&pieces.to_json(), pieces.bos, pieces.eos).unwrap();
            assert_eq!((back.prefix, back.collapse, back.unknown), (true, collapse, pieces.unknown));
            let kinds = |pieces: &Pieces| pieces.pieces.iter().map(|p| p.kind).collect::<Vec<_>>();
            assert_eq!(kinds(&back), kinds(&pieces));
            for text in ["abc", "a b c", "aabbcc é", "abcabcabc\n\n a", "a  b"] {
                assert_eq!(back.encode(text), pieces.encode(text), "{text}");
                assert_eq!(json.encode(text, false).unwrap().get_ids(), pieces.encode(text), "{text}");
                assert_eq!(json.encode(text, true).unwrap().get_ids()[0], 1);
            }
        }
        let other = serde_json::json!({ "model": { "type": "Unigram" } });
        assert!(Pieces::of_json(&other, 1, 2).unwrap_err().contains("Unigram"));
    }
}
