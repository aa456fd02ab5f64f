//! A small model of our own, so that everything can be tried without a download: trained on the made-up world of
//! `llm/examples/built-in`, which made these files.

use crate::{LlmError, model::Model, questions::Question, tokenizer::Tokenizer, weights};

/// Its name on the command line.
pub const NAME: &str = "built-in";

const MODEL: &[u8] = include_bytes!("../data/built-in.gguf");
const QUESTIONS: &str = include_str!("../data/built-in.jsonl");

/// A text of its world that it was not trained on.
pub const TEXT: &str = include_str!("../data/built-in.txt");

/// The model: a super-network, so that its parts are models.
///
/// # Errors
/// None with the files that belong here.
pub fn model() -> Result<Model, LlmError> {
    weights::of_gguf(MODEL, NAME)
}

/// Its tokenizer.
///
/// # Errors
/// None with the files that belong here.
pub fn tokenizer() -> Result<Tokenizer, LlmError> {
    Tokenizer::of_gguf(MODEL, NAME)
}

/// Questions about facts of its world, each with four choices.
///
/// # Errors
/// None with the files that belong here.
pub fn questions() -> Result<Vec<Question>, LlmError> {
    crate::questions::of_text(QUESTIONS, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{judge, perplexity};

    #[test]
    fn it_knows_its_world() {
        let (model, tokenizer) = (model().unwrap(), tokenizer().unwrap());
        tokenizer.check(model.config()).unwrap();
        let questions = questions().unwrap();
        let right = judge(&model, &tokenizer, &questions).unwrap();
        let right = right.iter().zip(&questions).filter(|(judged, q)| judged.plain == q.answer()).count();
        // Chance is a quarter.
        assert!(right * 4 > questions.len() * 3, "{right} of {}", questions.len());
        let tokens = tokenizer.encode(TEXT).unwrap();
        assert!(perplexity(&model, &tokens[..4096], 256).unwrap().nats < 1.5);
        assert!(MODEL.len() + TEXT.len() + QUESTIONS.len() < 1_500_000);
    }
}
