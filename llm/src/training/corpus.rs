//! What is trained on: texts of the user's, or such as the model writes itself.

use crate::{
    LlmError,
    generate::{Sampling, generate},
    model::Model,
};
use rand::Rng;
use rayon::prelude::*;
use std::sync::Arc;

/// Texts as tokens.
#[derive(Clone, Debug)]
pub struct Corpus {
    texts: Vec<Vec<u32>>,
    /// Where each text ends among the tokens of all.
    ends: Vec<usize>,
    /// The token with which a text begins, where there is one.
    bos: Option<u32>,
}

impl Corpus {
    /// Texts, of which the empty ones say nothing.
    ///
    /// # Errors
    /// Fewer than two tokens in all of them: nothing follows.
    pub fn new(mut texts: Vec<Vec<u32>>, bos: Option<u32>) -> Result<Self, LlmError> {
        texts.retain(|text| text.len() >= 2);
        if texts.is_empty() {
            return Err(LlmError::Asked("there is nothing to train on: no text has two tokens".into()));
        }
        let ends = texts
            .iter()
            .scan(0, |end, text| {
                *end += text.len();
                Some(*end)
            })
            .collect();
        Ok(Self { texts, ends, bos })
    }

    /// About so many tokens that a model writes, as texts of at most `length`, drawn by its own odds.
    ///
    /// # Errors
    /// A model that does not know how a text begins, and one that ends each text at once.
    pub fn sampled(
        model: &Model,
        tokens: usize,
        length: usize,
        seed: u64,
        written: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, LlmError> {
        let Some(bos) = model.config().bos else {
            return Err(LlmError::Asked(
                "the model has no token for the beginning of a text, so it cannot write one: give a text"
                    .into(),
            ));
        };
        let length = length.min(model.config().context - 1).max(1);
        let texts = (0..tokens.div_ceil(length) as u64).into_par_iter().map(|i| {
            let sampling =
                Sampling { temperature: 1.0, seed: seed.wrapping_add(i.wrapping_mul(0x9e37_79b9)) };
            let text = generate(model, &[bos], length, sampling)?.tokens;
            written(text.len());
            Ok(text)
        });
        Self::new(texts.collect::<Result<_, LlmError>>()?, Some(bos))
    }

    /// Both.
    pub fn with(self, other: Self) -> Result<Self, LlmError> {
        Self::new([self.texts, other.texts].concat(), self.bos)
    }

    /// Its texts.
    pub fn texts(&self) -> &[Vec<u32>] {
        &self.texts
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Sequences drawn from the texts, each token as likely as any other: what is read, and what follows each token of it. Each
    /// sequence begins as a text begins, wherever in the text it is; a text that is too short is followed by another.
    pub fn draw(
        &self,
        sequences: usize,
        length: usize,
        rng: &mut impl Rng,
    ) -> (Arc<Vec<u32>>, Arc<Vec<u32>>) {
        let (mut read, mut follow) = (Vec::with_capacity(sequences * length), Vec::new());
        for _ in 0..sequences {
            let mut sequence = Vec::with_capacity(length + 1);
            while sequence.len() < length + 1 {
                sequence.extend(self.bos);
                let at = rng.random_range(0..self.tokens());
                let text = &self.texts[self.ends.partition_point(|end| *end <= at)];
                let left = (length + 1).saturating_sub(sequence.len()).max(1);
                // The beginnings of texts are seen as often as anything.
                let from = rng.random_range(0..=text.len().saturating_sub(left));
                sequence.extend(text[from..].iter().take(left));
            }
            sequence.truncate(length + 1);
            read.extend_from_slice(&sequence[..length]);
            follow.extend_from_slice(&sequence[1..]);
        }
        (Arc::new(read), Arc::new(follow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn sequences_are_of_the_texts_and_what_follows_is_what_follows() {
        let corpus = Corpus::new(vec![vec![], vec![9], (10..40).collect(), vec![50, 51]], Some(1)).unwrap();
        assert_eq!(corpus.tokens(), 32);
        let (read, follow) = corpus.draw(50, 8, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!((read.len(), follow.len()), (400, 400));
        for (read, follow) in read.chunks(8).zip(follow.chunks(8)) {
            assert_eq!(read[0], 1);
            assert_eq!(read[1..], follow[..7]);
            for (a, b) in read.iter().zip(follow) {
                assert!(*a == 1 || *b == 1 || *b == a + 1, "{a} {b}");
            }
        }
        assert!(follow.contains(&39) && follow.contains(&10) && follow.contains(&50));
        assert!(Corpus::new(vec![vec![1]], None).is_err());
        // Texts without a beginning, all shorter than a sequence.
        let (read, _) =
            Corpus::new(vec![vec![3, 4]], None).unwrap().draw(1, 5, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(*read, [3, 4, 3, 4, 3]);
    }
}
