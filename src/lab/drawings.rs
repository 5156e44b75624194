//! Digits drawn by hand: kept as files, listed, and given to the network that there is now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::engine::Engine;
use crate::command::Keep;
use crate::data::drawings::{Drawing, Drawings, save};
use crate::data::picture::{self, Preprocess, Preprocessed};
use crate::data::{CLASSES, Image, Images};
use crate::error::Error;
use crate::reply::Reply;
use crate::state::{DigitList, DigitSource, DigitView, LabEvent, Level};

/// The folder of drawings in that of the sessions.
const FOLDER: &str = "drawings";

impl Engine<'_> {
    /// The own drawings, which lie beside the sessions.
    pub(super) fn drawings(&self) -> Drawings {
        Drawings::new(self.options.store.folder().join(FOLDER))
    }

    /// Writes what was drawn to a file, or adds it to the drawings.
    pub(super) fn keep_drawing(&mut self, keep: Keep, name: &str, image: Option<&Image>) -> Result<Reply, Error> {
        let Some(image) = image.filter(|image| picture::from_pixels(image, Preprocess::Auto).is_ok()) else {
            return Err(Error::Usage("nothing is drawn: `d` in the dashboard draws a digit".into()));
        };
        if keep == Keep::Save {
            let path = PathBuf::from(name);
            save(&path, image)?;
            return Ok(Reply::Done(format!("saved the drawing in {name}")));
        }
        let label: u8 = name
            .parse()
            .ok()
            .filter(|&label: &u8| usize::from(label) < CLASSES)
            .ok_or_else(|| Error::Usage(format!("`{name}` is no digit: say which it is, `draw add 7`")))?;
        let drawing = self.drawings().add(image, label)?;
        Ok(Reply::Done(format!("kept as {FOLDER}/{}: `next drawings` shows them all", drawing.name)))
    }

    /// Predicts one of the drawings.
    pub(super) fn look_at_drawing(&mut self, drawing: &Drawing) -> Result<Arc<DigitView>, Error> {
        let picture = picture::read(&self.drawings().path(drawing), Preprocess::Auto)?;
        let source = DigitSource::Drawing(drawing.name.clone());
        let digit = self.view(source, &picture.image, Some(drawing.label))?;
        let listed = self.publisher.state().list.as_ref().and_then(|list| {
            let at = list.drawings.iter().position(|other| other.source == digit.source)?;
            Some((at + 1, list.drawings.len()))
        });
        Ok(Arc::new(DigitView { place: listed, preprocess: Some(picture.to_string()), ..digit }))
    }

    /// Makes the drawings the list that is walked, with what the network says of them now; its place stays if they are the same.
    pub(super) fn open_drawings(&mut self) -> Result<(), Error> {
        let read = self.read_drawings()?;
        let images: Vec<Image> = read.iter().map(|(_, picture)| picture.image).collect();
        let mut views = Vec::new();
        for ((drawing, picture), logits) in read.into_iter().zip(self.trainer.logits(&images)?) {
            let source = DigitSource::Drawing(drawing.name);
            let view = self.view_of(source, &picture.image, Some(drawing.label), &logits);
            views.push(Arc::new(DigitView { preprocess: Some(picture.to_string()), ..view }));
        }
        let right = views.iter().filter(|view| view.label == Some(view.predicted)).count();
        let same =
            |list: &&DigitList| list.drawings.iter().map(|view| &view.source).eq(views.iter().map(|view| &view.source));
        let position = self.publisher.state().list.as_ref().filter(same).and_then(|list| list.position);
        self.publisher.emit(LabEvent::List(DigitList {
            title: format!("drawings, {right} of {} right", views.len()),
            indices: Arc::new((0..views.len() as u32).collect()),
            drawings: Arc::new(views),
            position,
        }));
        Ok(())
    }

    /// The drawings as a data set to measure.
    pub(super) fn drawn_images(&mut self) -> Result<Arc<Images>, Error> {
        let read = self.read_drawings()?;
        let pixels = read.iter().flat_map(|(_, picture)| picture.image).collect();
        Ok(Arc::new(Images::new(pixels, read.iter().map(|(drawing, _)| drawing.label).collect())))
    }

    /// Reads all drawings; those whose files can't be read are left out, and the log says so.
    fn read_drawings(&mut self) -> Result<Vec<(Drawing, Preprocessed)>, Error> {
        let drawings = self.drawings();
        let mut read = Vec::new();
        for drawing in drawings.list()? {
            match picture::read(&drawings.path(&drawing), Preprocess::Auto) {
                Ok(picture) => read.push((drawing, picture)),
                Err(error) => self.publisher.log(Level::Warning, format!("left out: {error}")),
            }
        }
        if read.is_empty() {
            return Err(none_in(drawings.folder()));
        }
        Ok(read)
    }
}

fn none_in(folder: &Path) -> Error {
    let folder = folder.display();
    Error::Usage(format!("{folder}: there are no drawings: `d` in the dashboard draws a digit, `+` keeps it here"))
}
