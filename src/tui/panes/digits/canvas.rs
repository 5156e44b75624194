//! The paper that one draws on: white ink on black, strokes as wide and as soft as those of MNIST.

use crate::data::{Image, PIXELS, SIDE};

/// Half the width of a stroke's full ink, in pixels; its edge fades over one pixel more.
const PEN: f32 = 0.9;
/// The same of what the eraser wipes.
const ERASER: f32 = 1.6;
/// Strokes that can be taken back.
const UNDO: usize = 200;

/// What a stroke does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Leaves ink.
    Pen,
    /// Takes it away.
    Eraser,
}

/// A place on the paper in pixels, `[x, y]`; pixel 0 reaches from 0 to 1. It can lie outside.
pub type Point = [f32; 2];

/// The paper, and how it was before each stroke.
#[derive(Clone, Debug)]
pub struct Canvas {
    image: Box<Image>,
    before: Vec<Image>,
}

impl Default for Canvas {
    fn default() -> Self {
        Self { image: Box::new([0; PIXELS]), before: Vec::new() }
    }
}

impl Canvas {
    /// What is drawn, `[height, width]`.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Whether nothing is.
    pub fn is_blank(&self) -> bool {
        self.image.iter().all(|&pixel| pixel == 0)
    }

    /// A stroke begins: [`Canvas::undo`] comes back to here.
    pub fn begin(&mut self) {
        if self.before.len() == UNDO {
            self.before.remove(0);
        }
        self.before.push(*self.image);
    }

    /// Goes from one point to another with a tool; whether that changed anything.
    pub fn line(&mut self, tool: Tool, from: Point, to: Point) -> bool {
        let mut changed = false;
        for (at, pixel) in self.image.iter_mut().enumerate() {
            let centre = [(at % SIDE) as f32 + 0.5, (at / SIDE) as f32 + 0.5];
            let radius = if tool == Tool::Pen { PEN } else { ERASER };
            let share = (radius + 0.5 - distance(centre, from, to)).clamp(0.0, 1.0);
            let covered = (share * 255.0).round() as u8;
            let after = match tool {
                Tool::Pen => (*pixel).max(covered),
                Tool::Eraser => (*pixel).min(255 - covered),
            };
            changed |= after != *pixel;
            *pixel = after;
        }
        changed
    }

    /// Takes the last stroke back that changed anything.
    pub fn undo(&mut self) {
        while let Some(before) = self.before.pop() {
            if before != *self.image {
                *self.image = before;
                return;
            }
        }
    }

    /// Takes everything away; that can be taken back too.
    pub fn clear(&mut self) {
        if !self.is_blank() {
            self.begin();
            self.image.fill(0);
        }
    }
}

/// How far `point` lies from the line between two others.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let off = [point[0] - from[0], point[1] - from[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let share = if length > 0.0 { ((off[0] * along[0] + off[1] * along[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
    (off[0] - share * along[0]).hypot(off[1] - share * along[1])
}

#[cfg(test)]
mod tests {
    use super::{Canvas, SIDE, Tool};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn row(canvas: &Canvas, y: usize) -> Vec<u8> {
        canvas.image()[y * SIDE..(y + 1) * SIDE].to_vec()
    }

    #[test]
    fn a_stroke_is_as_wide_as_those_of_mnist() {
        let mut canvas = Canvas::default();
        assert!(canvas.line(Tool::Pen, [14.5, 5.0], [14.5, 23.0]));
        let ink: f64 = row(&canvas, 14).iter().map(|&pixel| f64::from(pixel) / 255.0).sum();
        assert!((1.6..2.6).contains(&ink), "{ink}");
        assert_eq!(row(&canvas, 14)[14], 255);
        assert!(row(&canvas, 14)[13] > 0 && row(&canvas, 14)[13] < 255, "its edge is soft");
        assert_eq!((row(&canvas, 2), row(&canvas, 26)), (vec![0; SIDE], vec![0; SIDE]));
        assert!(!canvas.line(Tool::Pen, [14.5, 5.0], [14.5, 23.0]), "the same again changes nothing");
        assert!(canvas.line(Tool::Eraser, [0.0, 14.5], [28.0, 14.5]));
        assert_eq!(row(&canvas, 14), [0; SIDE]);
        assert_eq!(row(&canvas, 20)[14], 255);
    }

    proptest! {
        #[test]
        fn strokes_of_any_kind_are_taken_back(
            strokes in proptest::collection::vec((any::<bool>(), -60_f32..90.0, -60_f32..90.0, -60_f32..90.0, -60_f32..90.0), 0..12),
        ) {
            let mut canvas = Canvas::default();
            let mut states = Vec::new();
            for (pen, x, y, to_x, to_y) in strokes {
                let earlier = *canvas.image();
                let ink = |canvas: &Canvas| canvas.image().iter().map(|&pixel| u32::from(pixel)).sum::<u32>();
                let before = ink(&canvas);
                canvas.begin();
                let changed = canvas.line(if pen { Tool::Pen } else { Tool::Eraser }, [x, y], [to_x, to_y]);
                prop_assert_eq!(changed, *canvas.image() != earlier);
                states.extend(changed.then_some(earlier));
                let grown = ink(&canvas) >= before && pen || ink(&canvas) <= before && !pen;
                prop_assert!(grown);
            }
            while let Some(state) = states.pop() {
                canvas.undo();
                prop_assert_eq!(*canvas.image(), state);
            }
            canvas.undo();
            prop_assert!(canvas.is_blank());
        }
    }
}
