//! Unacknowledged: the batches that the learner may not have taken in yet, numbered and kept for sending again.

use prost::Message;
use srnas_proto::v1::ExperienceBatch;
use srnas_wire::Experience;
use std::collections::VecDeque;

/// Sequence numbers of one incarnation, and what was sent under them.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    /// Number of the last batch that was pushed.
    last: u64,
    /// Consecutive numbers, up to `last`. Clones share the arrays.
    batches: VecDeque<ExperienceBatch>,
    /// How many of them were sent on the current stream.
    sent: usize,
    /// Highest number that was sent on any stream of this incarnation.
    highest_sent: u64,
    max_bytes: usize,
    /// Bytes of all of them.
    bytes: u64,
}

/// A batch is larger than the learner allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Oversize {
    pub bytes: usize,
    pub limit: usize,
}

impl Unacknowledged {
    pub fn new(max_bytes: usize) -> Unacknowledged {
        Unacknowledged { last: 0, batches: VecDeque::new(), sent: 0, highest_sent: 0, max_bytes, bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Numbers a batch and keeps it.
    pub fn push(&mut self, experience: &Experience) -> Result<(), Oversize> {
        let batch = experience.encode(self.last + 1);
        let bytes = batch.encoded_len();
        if bytes > self.max_bytes {
            return Err(Oversize { bytes, limit: self.max_bytes });
        }
        self.last += 1;
        self.bytes += bytes as u64;
        self.batches.push_back(batch);
        Ok(())
    }

    /// Whether all batches were sent on the current stream.
    pub fn all_sent(&self) -> bool {
        self.sent == self.batches.len()
    }

    /// The next batch to send on the current stream, and whether it was sent before.
    pub fn next(&mut self) -> Option<(ExperienceBatch, bool)> {
        let batch = self.batches.get(self.sent)?.clone();
        self.sent += 1;
        let again = batch.sequence <= self.highest_sent;
        self.highest_sent = self.highest_sent.max(batch.sequence);
        Some((batch, again))
    }

    /// Forgets everything up to `sequence`; returns how many batches that were.
    pub fn acknowledge(&mut self, sequence: u64) -> usize {
        let settled = self.batches.iter().take_while(|b| b.sequence <= sequence).count();
        self.bytes -= self.batches.drain(..settled).map(|b| b.encoded_len() as u64).sum::<u64>();
        self.sent = self.sent.saturating_sub(settled);
        settled
    }

    /// A new stream: everything that is kept is to be sent on it.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// A new incarnation: what the learner took in of the old one is forgotten, the rest is numbered from 1.
    pub fn renumber(&mut self, previous_acknowledged: u64, max_bytes: usize) -> usize {
        let settled = self.acknowledge(previous_acknowledged);
        let sent = self.batches.iter().filter(|b| b.sequence <= self.highest_sent).count();
        for (batch, sequence) in self.batches.iter_mut().zip(1..) {
            batch.sequence = sequence;
        }
        (self.last, self.highest_sent) = (self.batches.len() as u64, sent as u64);
        (self.sent, self.max_bytes) = (0, max_bytes);
        self.bytes = self.batches.iter().map(|b| b.encoded_len() as u64).sum();
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(n: u64) -> Unacknowledged {
        let mut kept = Unacknowledged::new(1000);
        for environment_steps in 1..=n {
            kept.push(&Experience { environment_steps, ..Experience::default() }).unwrap();
        }
        kept
    }

    fn sent(kept: &mut Unacknowledged) -> Vec<(u64, u64, bool)> {
        std::iter::from_fn(|| kept.next())
            .map(|(b, again)| (b.sequence, b.environment_steps, again))
            .collect()
    }

    #[test]
    fn a_new_stream_gets_what_was_not_acknowledged_again() {
        let mut kept = filled(3);
        assert_eq!(sent(&mut kept), [(1, 1, false), (2, 2, false), (3, 3, false)]);
        assert_eq!(kept.acknowledge(1), 1);
        kept.push(&Experience { environment_steps: 4, ..Experience::default() }).unwrap();
        kept.rewind();
        assert_eq!(sent(&mut kept), [(2, 2, true), (3, 3, true), (4, 4, false)]);
        assert!(kept.all_sent());
        assert_eq!(kept.acknowledge(u64::MAX), 3);
        assert_eq!(kept.len(), 0);
    }

    #[test]
    fn a_new_incarnation_numbers_the_rest_from_one() {
        let mut kept = filled(4);
        kept.next();
        kept.next();
        assert_eq!(kept.renumber(1, 1000), 1);
        kept.push(&Experience { environment_steps: 5, ..Experience::default() }).unwrap();
        assert_eq!(sent(&mut kept), [(1, 2, true), (2, 3, false), (3, 4, false), (4, 5, false)]);
    }

    #[test]
    fn a_batch_that_the_learner_would_refuse_takes_no_number() {
        let mut kept = filled(1);
        let large = Experience { identities: vec![0; 2000], ..Experience::default() };
        assert!(matches!(kept.push(&large), Err(Oversize { bytes, limit: 1000 }) if bytes > 2000));
        kept.push(&Experience::default()).unwrap();
        assert_eq!(sent(&mut kept).last().unwrap().0, 2);
    }
}
