//! What a view asks the network about its pictures: one question at a time, so that a busy lab is not flooded, and in the end the
//! newest, of the weights that there are.

use std::sync::Arc;

use crate::command::{Command, Depth};
use crate::data::Image;
use crate::error::Error;
use crate::reply::{Classified, Reply};
use crate::state::{LabState, RunInfo};

/// A view's questions and what came of them.
#[derive(Debug, Default)]
pub struct Enquiry {
    /// What was asked and is not answered.
    asked: Option<Question>,
    /// What was said last, or why nothing was.
    answered: Option<(Question, Result<Classified, String>)>,
}

/// Which pictures, and which weights.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    pictures: u64,
    run: Arc<RunInfo>,
    /// The branch of the run, by its number: each has weights of its own at the same step.
    branch: usize,
    step: u64,
}

impl Enquiry {
    /// What to ask about the pictures of this number; nothing while another question is under way, once all is known, or without
    /// a network.
    pub fn ask(&mut self, pictures: u64, images: impl FnOnce() -> Vec<Image>, lab: &LabState) -> Option<Command> {
        let (run, branch, step) = (lab.run.clone()?, lab.tree.on(), lab.progress.step);
        let question = Question { pictures, run, branch, step };
        let known = self.answered.as_ref().is_some_and(|(answered, _)| *answered == question);
        if known || self.asked.is_some() {
            return None;
        }
        self.asked = Some(question);
        Some(Command::Classify { images: images(), depth: Depth::Classes })
    }

    /// The network answered.
    pub fn answer(&mut self, result: Result<Reply, Error>) {
        let Some(question) = self.asked.take() else { return };
        let said = match result {
            Ok(Reply::Classified(said)) => Ok(said),
            Ok(other) => Err(other.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.answered = Some((question, said));
    }

    /// What was said last, and the number of the pictures that it was said of.
    pub fn said(&self) -> Option<(u64, Result<&Classified, &str>)> {
        let (question, said) = self.answered.as_ref()?;
        Some((question.pictures, said.as_ref().map_err(String::as_str)))
    }
}
