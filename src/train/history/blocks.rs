//! Records of a run in blocks that copies share: a copy of a long run costs no more than one of a short run.

use std::ops::Index;
use std::sync::Arc;

/// Records of a block. Whoever writes to a shared history copies the last block, so it is kept small.
const BLOCK: usize = 1024;

/// Records, the oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks<T> {
    /// All full, except the last.
    blocks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T: Clone> Blocks<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Record number `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.blocks.get(index / BLOCK)?.get(index % BLOCK)
    }

    /// The oldest.
    pub fn first(&self) -> Option<&T> {
        self.get(0)
    }

    /// The newest.
    pub fn last(&self) -> Option<&T> {
        self.blocks.last()?.last()
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// How many at the beginning fulfil `is_before`, if those that do come before those that don't.
    pub fn partition_point(&self, is_before: impl Fn(&T) -> bool) -> usize {
        let full = self.blocks.partition_point(|block| block.last().is_some_and(&is_before));
        let rest = self.blocks.get(full).map_or(0, |block| block.partition_point(is_before));
        (full * BLOCK + rest).min(self.len())
    }

    /// How many at the beginning are the same in `other`. What both share is not looked at.
    pub fn common(&self, other: &Self) -> usize
    where
        T: PartialEq,
    {
        let shared = self.blocks.iter().zip(&other.blocks).take_while(|(a, b)| Arc::ptr_eq(a, b) || a == b).count();
        let rest = match (self.blocks.get(shared), other.blocks.get(shared)) {
            (Some(a), Some(b)) => a.iter().zip(b.iter()).take_while(|(a, b)| a == b).count(),
            _ => 0,
        };
        (shared * BLOCK + rest).min(self.len()).min(other.len())
    }

    /// Adds the newest.
    pub fn push(&mut self, record: T) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => Arc::make_mut(last).push(record),
            _ => self.blocks.push(Arc::new(vec![record])),
        }
    }

    /// Forgets all but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.blocks.truncate(len.div_ceil(BLOCK));
        if let Some(last) = self.blocks.get_mut(len / BLOCK) {
            Arc::make_mut(last).truncate(len % BLOCK);
        }
    }
}

impl<T> Index<usize> for Blocks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.blocks[index / BLOCK][index % BLOCK]
    }
}

impl<T: Clone> Extend<T> for Blocks<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, records: I) {
        for record in records {
            self.push(record);
        }
    }
}

impl<T: Clone> FromIterator<T> for Blocks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let mut blocks = Self::default();
        blocks.extend(records);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::BLOCK;
    use crate::train::history::{StepRecord, Steps};

    fn record(step: u64) -> StepRecord {
        StepRecord { step, loss: 0.0, accuracy: 0.0, learning_rate: 0.0 }
    }

    /// Blocks behave as one vector of the same points.
    #[test]
    fn blocks_are_a_vector() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let plain: Vec<StepRecord> = (1..=len as u64).map(record).collect();
            let steps: Steps = plain.iter().copied().collect();
            assert_eq!((steps.len(), steps.is_empty()), (len, plain.is_empty()));
            assert_eq!((steps.first(), steps.last()), (plain.first(), plain.last()));
            assert_eq!(steps.iter().copied().collect::<Vec<_>>(), plain);
            for cut in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len, len + 1] {
                let before = |record: &StepRecord| record.step <= cut as u64;
                assert_eq!(steps.partition_point(before), plain.partition_point(before));
                assert_eq!(steps.get(cut), plain.get(cut));
                let (mut short, mut plain) = (steps.clone(), plain.clone());
                short.truncate(cut);
                plain.truncate(cut);
                assert_eq!(short, plain.iter().copied().collect());
                short.push(record(7));
                assert_eq!((short.len(), short.last()), (plain.len() + 1, Some(&record(7))));
            }
            assert_eq!(steps.len(), len, "a copy is its own");
        }
    }

    #[test]
    fn histories_part_where_they_differ() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let steps: Steps = (1..=len as u64).map(record).collect();
            for cut in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len] {
                let mut other = steps.clone();
                other.truncate(cut);
                let cut = cut.min(len);
                assert_eq!((steps.common(&other), other.common(&steps)), (cut, cut));
                (0..2 * BLOCK as u64).for_each(|n| other.push(record(u64::MAX - n)));
                assert_eq!((steps.common(&other), other.common(&steps)), (cut, cut));
            }
            let apart: Steps = (1..=len as u64).map(record).collect();
            assert_eq!(steps.common(&apart), len, "equal without sharing");
        }
    }

    #[test]
    fn a_copy_shares_all_but_the_block_that_is_written_to() {
        let mut steps: Steps = (1..3 * BLOCK as u64).map(record).collect();
        let copy = steps.clone();
        steps.push(record(0));
        let shared = steps.blocks.iter().zip(&copy.blocks).filter(|(a, b)| std::sync::Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 2);
    }
}
