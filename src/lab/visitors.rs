//! Questions from outside about images of their own: those that wait together are answered together.

use std::sync::mpsc::Receiver;

use super::engine::Engine;
use super::{Answering, Request};
use crate::command::{Command, Depth};
use crate::data::Image;
use crate::error::Error;
use crate::metrics::softmax;
use crate::reply::{Classified, Reply};

/// Images of one pass through the network: more would make a run wait.
const MOST: usize = 256;

/// Somebody who waits, and which of the images are theirs.
struct Visitor {
    answer: Answering,
    images: std::ops::Range<usize>,
    depth: Depth,
}

impl Engine<'_> {
    /// Answers `first`, which must be a [`Command::Classify`], and those like it that wait behind it; gives the request of
    /// another kind that it met.
    pub(super) fn answer_visitors(&mut self, first: Request, inbox: &Receiver<Request>) -> Option<Request> {
        let mut visitors = Vec::new();
        let mut images: Vec<Image> = Vec::new();
        let mut next = Some(first);
        while let Some(mut request) = next.take() {
            let Command::Classify { images: brought, depth } = &mut request.command else {
                next = Some(request);
                break;
            };
            let start = images.len();
            images.append(brought);
            visitors.push(Visitor { answer: request.answer, images: start..images.len(), depth: *depth });
            next = if images.len() < MOST { inbox.try_recv().ok() } else { None };
        }
        match self.classify(&images) {
            Ok(all) => {
                for Visitor { answer, images: part, depth } in visitors {
                    let probabilities = all.probabilities[part.clone()].to_vec();
                    let saliency = match depth {
                        Depth::Classes => Ok(Vec::new()),
                        Depth::Saliency => self.trainer.saliency(&images[part]),
                    };
                    let classified = |saliency| Reply::Classified(Classified { probabilities, saliency, ..all });
                    // Whoever asked may be gone.
                    let _ = answer.send(saliency.map(classified).map_err(Error::from));
                }
            }
            Err(error) => {
                let failure = error.failure();
                for visitor in visitors {
                    let _ = visitor.answer.send(Err(Error::Lab(failure.clone())));
                }
            }
        }
        next
    }

    fn classify(&mut self, images: &[Image]) -> Result<Classified, Error> {
        let probabilities = self.trainer.logits(images)?.iter().map(softmax).collect();
        let progress = self.trainer.progress();
        Ok(Classified { probabilities, saliency: Vec::new(), epoch: progress.epoch, step: progress.step })
    }
}
