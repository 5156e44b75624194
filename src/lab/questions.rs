//! Questions to the network: predictions, lists of digits, whole splits; answered between two batches.

use std::path::Path;
use std::slice;
use std::sync::Arc;

use super::engine::Engine;
use crate::command::{Filter, ListName};
use crate::data::picture::{self, Preprocess};
use crate::data::{CLASSES, Image};
use crate::error::Error;
use crate::metrics::{Evaluation, Outcome, argmax, cross_entropy, softmax};
use crate::reply::Reply;
use crate::state::{DigitList, DigitSource, DigitView, LabEvent};

/// Training digits that are shown beside a digit: with it, two rows of the gallery.
const NEIGHBOURS: usize = 9;

impl Engine<'_> {
    /// Predicts test digits and image files.
    pub(super) fn predict(&mut self, inputs: &[String]) -> Result<Reply, Error> {
        let digits: Vec<Arc<DigitView>> =
            inputs.iter().map(|input| self.predict_one(input)).collect::<Result<_, _>>()?;
        if let Some(last) = digits.last() {
            self.publisher.emit(LabEvent::Digit(last.clone()));
        }
        Ok(Reply::Digits(digits))
    }

    fn predict_one(&mut self, input: &str) -> Result<Arc<DigitView>, Error> {
        if let Ok(index) = input.parse::<u64>() {
            let len = self.trainer.dataset().test.len();
            return match u32::try_from(index) {
                Ok(index) if (index as usize) < len => self.look_at(index, None),
                _ => Err(Error::Usage(format!(
                    "there is no test digit {index}: they are 0 to {}",
                    len.saturating_sub(1)
                ))),
            };
        }
        if let Some(drawing) = input.strip_prefix("drawings/").and_then(|name| self.drawings().find(name)) {
            return self.look_at_drawing(&drawing);
        }
        let picture = picture::read(Path::new(input), Preprocess::Auto)?;
        let digit = self.view(DigitSource::File(input.into()), &picture.image, None)?;
        Ok(Arc::new(DigitView { preprocess: Some(picture.to_string()), ..digit }))
    }

    /// Predicts test digit `index`; `place` is where it stands in the list that is walked.
    fn look_at(&mut self, index: u32, place: Option<(usize, usize)>) -> Result<Arc<DigitView>, Error> {
        let place = place
            .or_else(|| self.publisher.state().list.as_ref().filter(|list| list.drawings.is_empty())?.place_of(index));
        let dataset = self.trainer.dataset();
        let (image, label) = (*dataset.test.image(index as usize), dataset.test.label(index as usize));
        let doubtful = dataset.doubtful(index as usize);
        let digit = self.view(DigitSource::Test(index), &image, Some(label))?;
        Ok(Arc::new(DigitView { doubtful, place, past: self.past_of(index), ..digit }))
    }

    /// Asks the network about one image.
    pub(super) fn view(&mut self, source: DigitSource, image: &Image, label: Option<u8>) -> Result<DigitView, Error> {
        let logits = self.trainer.logits(slice::from_ref(image))?[0];
        Ok(self.view_of(source, image, label, &logits))
    }

    /// An image and what its logits say.
    pub(super) fn view_of(
        &self,
        source: DigitSource,
        image: &Image,
        label: Option<u8>,
        logits: &[f32; CLASSES],
    ) -> DigitView {
        DigitView {
            source,
            image: Box::new(*image),
            label,
            probabilities: softmax(logits),
            predicted: argmax(logits),
            loss: label.map(|label| cross_entropy(logits, label)),
            doubtful: false,
            step: self.trainer.progress().step,
            place: None,
            preprocess: None,
            past: Vec::new(),
            explanation: None,
            neighbours: Vec::new(),
        }
    }

    /// Predicts the digit that is given, or that which is shown, in its place of the list; without one, `instead` is what to do.
    fn given_or_shown(&mut self, input: Option<String>, instead: &str) -> Result<DigitView, Error> {
        let shown = self.publisher.state().digit.clone();
        match (input, shown) {
            (Some(input), _) => self.predict_one(&input).map(Arc::unwrap_or_clone),
            (None, Some(shown)) => {
                let digit = Arc::unwrap_or_clone(self.predict_one(&shown.source.to_string())?);
                Ok(DigitView { place: shown.place.or(digit.place), ..digit })
            }
            (None, None) => Err(Error::Usage(format!("no digit is shown: {instead}"))),
        }
    }

    /// Predicts a digit, or that which is shown, and explains it.
    pub(super) fn explain(&mut self, input: Option<String>, class: Option<u8>) -> Result<Reply, Error> {
        let digit = self.given_or_shown(input, "`explain 42` explains one")?;
        let explanation = self.trainer.explain(&digit.image, class)?;
        let digit = Arc::new(DigitView { explanation: Some(Arc::new(explanation)), ..digit });
        self.publisher.emit(LabEvent::Digit(digit.clone()));
        Ok(Reply::Explained(digit))
    }

    /// Predicts a digit, or that which is shown, and finds the training digits that the network sees as most like it.
    pub(super) fn nearest(&mut self, input: Option<String>) -> Result<Reply, Error> {
        let digit = self.given_or_shown(input, "`nearest 42` shows one with its like")?;
        let neighbours = self.trainer.nearest(&digit.image, NEIGHBOURS)?;
        let digit = Arc::new(DigitView { neighbours, ..digit });
        self.publisher.emit(LabEvent::Digit(digit.clone()));
        Ok(Reply::Nearest(digit))
    }

    /// Shows the next or previous digit of a list, round its ends.
    pub(super) fn walk(&mut self, name: Option<ListName>, forward: bool) -> Result<Reply, Error> {
        let filters: Option<&[Filter]> = match (name, &self.publisher.state().list) {
            (Some(ListName::Wrong), _) | (None, None) => Some(&[Filter::Wrong]),
            (Some(ListName::Doubtful), _) => Some(&[Filter::Doubtful]),
            (Some(ListName::All), _) => Some(&[]),
            (Some(ListName::Forgotten), _) => {
                let list = self.forgotten()?;
                self.lay_out(list);
                None
            }
            (Some(name @ (ListName::Confident | ListName::Unsure)), _) => {
                let list = self.by_confidence(name)?;
                self.lay_out(list);
                None
            }
            (Some(ListName::Drawings), _) | (None, Some(_)) => None,
        };
        let listed = |list: &DigitList| !list.drawings.is_empty();
        // The network may have learned since they were listed: the title tells how many it reads.
        if name == Some(ListName::Drawings)
            || name.is_none() && self.publisher.state().list.as_ref().is_some_and(listed)
        {
            self.open_drawings()?;
        }
        if let Some(filters) = filters {
            self.open_list(filters)?;
        }
        let Some(list) = self.publisher.state().list.clone() else {
            return Err(Error::Usage("there is no list: `next wrong` or `find true=4 pred=9` makes one".into()));
        };
        let len = list.indices.len();
        if len == 0 {
            return Ok(Reply::Done(format!("no digit is in the list `{}`", list.title)));
        }
        let position = match (list.position, forward) {
            (None, true) => 0,
            (None, false) => len - 1,
            (Some(position), true) => (position + 1) % len,
            (Some(position), false) => (position + len - 1) % len,
        };
        let place = Some((position + 1, len));
        let digit = match list.drawings.get(position) {
            Some(drawing) => Arc::new(DigitView { place, ..(**drawing).clone() }),
            None => self.look_at(list.indices[position], place)?,
        };
        self.publisher.emit(LabEvent::Digit(digit.clone()));
        Ok(Reply::Digits(vec![digit]))
    }

    /// Lists the test digits that fit and shows the first.
    pub(super) fn find(&mut self, filters: &[Filter]) -> Result<Reply, Error> {
        let list = self.list(filters)?;
        self.publisher.emit(LabEvent::List(list));
        self.walk(None, true)
    }

    /// Makes the list of `filters` the one that is walked, unless it is already and as it was.
    fn open_list(&mut self, filters: &[Filter]) -> Result<(), Error> {
        let list = self.list(filters)?;
        self.lay_out(list);
        Ok(())
    }

    fn lay_out(&mut self, list: DigitList) {
        let same = |old: &DigitList| old.title == list.title && old.indices == list.indices;
        if !self.publisher.state().list.as_ref().is_some_and(same) {
            self.publisher.emit(LabEvent::List(list));
        }
    }

    fn list(&mut self, filters: &[Filter]) -> Result<DigitList, Error> {
        let evaluation = self.tested()?;
        let dataset = self.trainer.dataset();
        let fits = |outcome: &Outcome| {
            filters.iter().all(|filter| match *filter {
                Filter::True(class) => outcome.label == class,
                Filter::Predicted(class) => outcome.predicted == class,
                Filter::Class(class) => [outcome.label, outcome.predicted].contains(&class),
                Filter::Surer(confidence) => outcome.confidence > confidence,
                Filter::LessSure(confidence) => outcome.confidence <= confidence,
                Filter::Wrong => outcome.is_wrong(),
                Filter::Right => !outcome.is_wrong(),
                Filter::Doubtful => dataset.doubtful(outcome.index as usize),
            })
        };
        let mut fitting: Vec<Outcome> = evaluation.outcomes.iter().copied().filter(fits).collect();
        if !filters.is_empty() {
            fitting.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
        }
        let title = filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let title = if title.is_empty() { "all".into() } else { title };
        Ok(DigitList {
            title,
            indices: Arc::new(fitting.iter().map(|o| o.index).collect()),
            drawings: Arc::default(),
            position: None,
        })
    }

    /// The mistakes that the network is surest of, or all digits, those first that it is least sure of.
    fn by_confidence(&mut self, name: ListName) -> Result<DigitList, Error> {
        let evaluation = self.tested()?;
        let mut outcomes = evaluation.outcomes.clone();
        outcomes.sort_by(|a, b| a.confidence.total_cmp(&b.confidence).then(a.index.cmp(&b.index)));
        let title = if name == ListName::Confident {
            outcomes.retain(Outcome::is_wrong);
            outcomes.reverse();
            "surest mistakes"
        } else {
            "least sure"
        };
        let indices = Arc::new(outcomes.iter().map(|outcome| outcome.index).collect());
        Ok(DigitList { title: title.into(), indices, ..DigitList::default() })
    }

    /// The outcomes of the test set: those at hand if they are of these weights, or while training of this epoch.
    fn tested(&mut self) -> Result<Arc<Evaluation>, Error> {
        let step = self.trainer.progress().step;
        let epoch_began = self.trainer.history().epochs.last().map_or(0, |epoch| epoch.step);
        let oldest = if self.is_training() { epoch_began } else { step };
        match &self.publisher.state().test {
            Some(tested) if (oldest..=step).contains(&tested.step) => Ok(tested.evaluation.clone()),
            _ => self.test(),
        }
    }
}
