//! Questions with choices, from the files in which they are published: ARC (arXiv 1803.05457), MMLU (2009.03300), TruthfulQA
//! (2109.07958), WinoGrande (1907.10641) and the sentence pairs of BLiMP (1912.00582). What is asked has the wording of the
//! Language Model Evaluation Harness, without examples before it.

use crate::{LlmError, error};
use serde_json::{Map, Value};
use std::path::Path;

/// One choice: how likely is the text after the context?
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What comes before; may be empty.
    pub context: String,
    /// What is judged; with the space that it begins with.
    pub text: String,
}

/// A question: at least two choices, one of which is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    choices: Vec<Choice>,
    answer: usize,
}

impl Question {
    /// A question.
    ///
    /// # Errors
    /// Fewer than two choices, a choice without text, and an answer that is none of them.
    pub fn new(choices: Vec<Choice>, answer: usize) -> Result<Self, String> {
        if choices.len() < 2 {
            return Err(format!("it has {} choices; a question has at least two", choices.len()));
        }
        if choices.iter().any(|c| c.text.trim().is_empty()) {
            return Err("one of its choices is empty".into());
        }
        if answer >= choices.len() {
            return Err("its answer is none of its choices".into());
        }
        Ok(Self { choices, answer })
    }

    /// Its choices.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Which of them is right.
    pub fn answer(&self) -> usize {
        self.answer
    }
}

/// Reads questions from a file as it was published (`.jsonl`, `.json` or `.csv`, also with `.gz`); what they are is told from
/// their fields.
///
/// # Errors
/// What is not there, no question, and what is wrong with one, by its number.
pub fn read(path: &Path) -> Result<Vec<Question>, LlmError> {
    let text = error::read_text(path)?;
    let text = text.trim_start_matches('\u{feff}');
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let questions = if name.ends_with(".csv") { of_csv(text) } else { of_json(text) };
    let questions = questions.map_err(|reason| LlmError::content(path, reason))?;
    if questions.is_empty() {
        return Err(LlmError::content(path, "has no question"));
    }
    Ok(questions)
}

/// Questions in JSON, of the text of a file that is called `name`.
pub(crate) fn of_text(text: &str, name: &str) -> Result<Vec<Question>, LlmError> {
    of_json(text).map_err(|reason| LlmError::content(Path::new(name), reason))
}

fn of_json(text: &str) -> Result<Vec<Question>, String> {
    let records: Vec<Map<String, Value>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|e| format!("is no list of JSON objects: {e}"))?
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(i, line)| serde_json::from_str(line).map_err(|e| format!("line {}: {e}", i + 1)))
            .collect::<Result<_, _>>()?
    };
    let numbered = records.iter().enumerate();
    numbered.map(|(i, record)| of_record(record).map_err(|e| format!("question {}: {e}", i + 1))).collect()
}

fn of_record(record: &Map<String, Value>) -> Result<Question, String> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    if let (Some(good), Some(bad)) = (text("sentence_good"), text("sentence_bad")) {
        let whole = |text: &str| Choice { context: String::new(), text: text.into() };
        return Question::new(vec![whole(good), whole(bad)], 0);
    }
    if let (Some(sentence), Some(one), Some(two)) = (text("sentence"), text("option1"), text("option2")) {
        return winogrande(sentence, one, two, text("answer").ok_or("it has no `answer`")?);
    }
    if let Some(instruction) = text("instruction") {
        let parts = instructed(instruction).ok_or("its `instruction` is not the one of WinoGrande")?;
        let answer = text("answer").and_then(|a| a.strip_prefix("option")).ok_or("it has no `answer`")?;
        return winogrande(parts.0, parts.1, parts.2, answer);
    }
    if let Some(question) = record.get("question").and_then(Value::as_object) {
        return arc(question, text("answerKey").ok_or("it has no `answerKey`")?);
    }
    Err("it has the fields of no known set: ARC, WinoGrande and BLiMP are known in JSON".into())
}

fn arc(question: &Map<String, Value>, key: &str) -> Result<Question, String> {
    let stem = question.get("stem").and_then(Value::as_str).ok_or("it has no `stem`")?;
    let list = question.get("choices").and_then(Value::as_array).ok_or("it has no `choices`")?;
    let field = |choice: &Value, name: &str| choice.get(name).and_then(Value::as_str).map(str::to_string);
    let answer = list.iter().position(|c| field(c, "label").as_deref() == Some(key));
    let context = format!("Question: {stem}\nAnswer:");
    let choices = list.iter().map(|c| field(c, "text").ok_or("a choice has no `text`"));
    let choices: Vec<String> = choices.collect::<Result<_, _>>()?;
    after(&context, choices.iter().map(String::as_str), answer.unwrap_or(usize::MAX))
}

/// The sentence with one option or the other in its gap: how likely is what comes after it?
fn winogrande(sentence: &str, one: &str, two: &str, answer: &str) -> Result<Question, String> {
    let (before, after) = sentence.split_once('_').ok_or("its sentence has no gap `_`")?;
    let choice =
        |option: &str| Choice { context: format!("{before}{option}"), text: format!(" {}", after.trim()) };
    let answer =
        answer.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).ok_or("its answer is not 1 or 2")?;
    Question::new(vec![choice(one), choice(two)], answer)
}

/// Sentence and options out of one string.
fn instructed(text: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = text.split_once("the given sentence: ")?;
    let (sentence, rest) = rest.rsplit_once("Option1: ")?;
    let (one, rest) = rest.split_once(" Option2: ")?;
    let (two, _) = rest.split_once(" Answer format")?;
    Some((sentence.trim(), one.trim(), two.trim()))
}

fn of_csv(text: &str) -> Result<Vec<Question>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let place = |name: &str| rows.first().and_then(|head| head.iter().position(|h| h.trim() == name));
    match (place("Question"), place("Best Answer"), place("Incorrect Answers")) {
        (Some(question), Some(best), Some(incorrect)) => {
            let read = |(i, row): (usize, &csv::StringRecord)| {
                let cell = |at: usize| row.get(at).unwrap_or_default().trim();
                truthful(cell(question), cell(best), cell(incorrect))
                    .map_err(|e| format!("question {i}: {e}"))
            };
            rows.iter().enumerate().skip(1).map(read).collect()
        }
        _ => rows
            .iter()
            .enumerate()
            .map(|(i, r)| mmlu(r).map_err(|e| format!("question {}: {e}", i + 1)))
            .collect(),
    }
}

/// MC1: the best answer among the incorrect ones.
fn truthful(question: &str, best: &str, incorrect: &str) -> Result<Question, String> {
    let wrong = incorrect.split(';').map(str::trim).filter(|a| !a.is_empty());
    after(&format!("Q: {question}\nA:"), std::iter::once(best).chain(wrong), 0)
}

fn mmlu(row: &csv::StringRecord) -> Result<Question, String> {
    let cells: Vec<&str> = row.iter().collect();
    let [question, a, b, c, d, key] = cells[..] else {
        return Err(format!("it has {} columns; question, A, B, C, D and answer are expected", cells.len()));
    };
    let letters = ["A", "B", "C", "D"];
    let answer = letters
        .iter()
        .position(|l| *l == key.trim())
        .ok_or_else(|| format!("its answer `{key}` is none of A to D"))?;
    let context = format!("{}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:", question.trim());
    after(&context, letters.into_iter(), answer)
}

/// Choices after one context, each with a space before it.
fn after<'a>(
    context: &str,
    choices: impl Iterator<Item = &'a str>,
    answer: usize,
) -> Result<Question, String> {
    let choice = |text: &str| Choice { context: context.into(), text: format!(" {text}") };
    Question::new(choices.map(choice).collect(), answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> Result<Vec<Question>, LlmError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn each_format_is_told_from_its_fields() {
        let arc = r#"{"id":"1","question":{"stem":"Why?","choices":[{"text":"so","label":"1"},{"text":"no","label":"2"}]},"answerKey":"2"}"#;
        let q = &written("a.jsonl", arc).unwrap()[0];
        assert_eq!(
            (q.answer(), q.choices()[1].context.as_str(), q.choices()[1].text.as_str()),
            (1, "Question: Why?\nAnswer:", " no")
        );
        let gap = r#"{"sentence":"Ann met Bo and _ smiled.","option1":"Ann","option2":"Bo","answer":"1"}"#;
        let q = &written("w.jsonl", gap).unwrap()[0];
        assert_eq!(
            (q.choices()[1].context.as_str(), q.choices()[1].text.as_str()),
            ("Ann met Bo and Bo", " smiled.")
        );
        let told = r#"[{"instruction":"Please choose the correct answer to fill in the blank to complete the given sentence: Ann met Bo and _ smiled.\n\nOption1: Ann Option2: Bo Answer format: option1/option2","answer":"option1"}]"#;
        assert_eq!(&written("w.json", told).unwrap()[0], q);
        let pair = r#"{"sentence_good":"It is.","sentence_bad":"It are."}"#;
        assert_eq!(written("b.jsonl", pair).unwrap()[0].choices()[0].text, "It is.");
        let q = &written("m.csv", "\"Two, plus two?\",1,2,3,4,D\n").unwrap()[0];
        assert_eq!((q.answer(), q.choices()[3].text.as_str()), (3, " D"));
        assert!(q.choices()[0].context.starts_with("Two, plus two?\nA. 1\n"));
        let truthful =
            "Type,Question,Best Answer,Correct Answers,Incorrect Answers\nx,Why?,So,So; Thus,No; Never;\n";
        let q = &written("t.csv", truthful).unwrap()[0];
        assert_eq!((q.choices().len(), q.answer()), (3, 0));
    }

    #[test]
    fn what_is_no_question_is_refused_by_its_number() {
        let one = r#"{"question":{"stem":"Why?","choices":[{"text":"so","label":"A"}]},"answerKey":"A"}"#;
        for (name, text, said) in [
            ("a.jsonl", one, "question 1: it has 1 choices"),
            ("a.jsonl", "", "has no question"),
            ("a.jsonl", "{}", "no known set"),
            ("a.jsonl", "{", "line 1"),
            ("m.csv", "q,1,2,3,4,E\n", "none of A to D"),
            ("m.csv", "q,1,2\n", "3 columns"),
            ("t.csv", "Question,Best Answer,Incorrect Answers\nWhy?,So,\n", "1 choices"),
        ] {
            let error = written(name, text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
