//! Images in pixels: encoded once for each image and size, then only pointed at.

use image::{DynamicImage, GrayImage};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::widgets::Widget;
use ratatui_image::protocol::Protocol as Encoded;
use ratatui_image::protocol::iterm2::Iterm2;
use ratatui_image::protocol::kitty::Kitty;

use super::{scale, sixel};
use crate::data::{Image, SIDE};

/// How many images are remembered; a kitty terminal holds as many.
const SLOTS: usize = 4;
/// The first of the ids under which a kitty terminal knows our images: fixed, so that it never holds more than [`SLOTS`].
const FIRST_ID: u32 = 0x4D_4C00;
/// The largest magnification: more costs time and tells nothing new.
const LARGEST: usize = 24;

/// A way to send pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Kitty's, with Unicode placeholders.
    Kitty,
    /// DEC's.
    Sixel,
    /// iTerm2's.
    Iterm2,
}

impl Protocol {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kitty => "kitty",
            Self::Sixel => "sixel",
            Self::Iterm2 => "iterm2",
        }
    }

    /// `id` is the kitty terminal's name for it. `None` if it can't be encoded.
    fn encode(self, canvas: GrayImage, cells: Size, id: u32) -> Option<Encoded> {
        if self == Self::Sixel {
            return Some(Encoded::Sixel(sixel::encode(&canvas, cells)));
        }
        let canvas = DynamicImage::ImageLuma8(canvas);
        match self {
            // Every terminal with placeholders inflates; raw, the image would take twenty times the bytes.
            Self::Kitty => Kitty::new(canvas, cells, id, false, true).ok().map(Encoded::Kitty),
            _ => Iterm2::new(canvas, cells, false).ok().map(Encoded::ITerm2),
        }
    }
}

/// How an image lies on the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// The cells that it takes.
    pub(super) cells: Size,
    /// Of them, each in pixels.
    cell: Size,
    /// The terminal's pixels for one of the image's, along each axis.
    magnification: usize,
}

/// The largest whole magnification that fits into `area`; `None` if not even one does.
pub(super) fn fit(cell: Size, area: Rect) -> Option<Fit> {
    let (width, height) = (usize::from(cell.width), usize::from(cell.height));
    let room = (usize::from(area.width) * width).min(usize::from(area.height) * height);
    let magnification = (room / SIDE).min(LARGEST);
    let side = magnification * SIDE;
    let cells = Size::new(side.div_ceil(width.max(1)) as u16, side.div_ceil(height.max(1)) as u16);
    (magnification > 0).then_some(Fit { cells, cell, magnification })
}

/// What was encoded, the last used first.
#[derive(Default)]
pub(super) struct Cache {
    entries: Vec<Entry>,
    /// Whether a kitty terminal was given images.
    sent: bool,
}

struct Entry {
    image: Box<Image>,
    fit: Fit,
    light: bool,
    id: u32,
    encoded: Encoded,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Draws `image` at the top left of `area`; the cells that it filled, `None` if it couldn't be encoded.
    pub(super) fn draw(
        &mut self,
        protocol: Protocol,
        image: &Image,
        fit: Fit,
        light: bool,
        area: Rect,
        buffer: &mut Buffer,
    ) -> Option<Rect> {
        let known = |entry: &Entry| entry.fit == fit && entry.light == light && *entry.image == *image;
        match self.entries.iter().position(known) {
            Some(at) => self.entries[..=at].rotate_right(1),
            None => self.add(protocol, image, fit, light)?,
        }
        let cells = Rect { width: fit.cells.width, height: fit.cells.height, ..area };
        ratatui_image::Image::new(&self.entries.first()?.encoded).render(cells, buffer);
        Some(cells)
    }

    fn add(&mut self, protocol: Protocol, image: &Image, fit: Fit, light: bool) -> Option<()> {
        self.entries.truncate(SLOTS - 1);
        let taken = |id: &u32| self.entries.iter().all(|entry| entry.id != *id);
        let id = ids().find(taken)?;
        let encoded = protocol.encode(canvas(image, fit, light), fit.cells, id)?;
        self.sent |= protocol == Protocol::Kitty;
        self.entries.insert(0, Entry { image: Box::new(*image), fit, light, id, encoded });
        Some(())
    }

    /// Encodes everything anew, for a terminal that has lost it.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Deletes the images from a kitty terminal's memory.
    pub(super) fn farewell(&self) -> String {
        if !self.sent {
            return String::new();
        }
        let deletions: Vec<String> = ids().map(|id| format!("\x1b_Ga=d,d=I,i={id},q=2\x1b\\")).collect();
        deletions.concat()
    }
}

fn ids() -> impl Iterator<Item = u32> {
    FIRST_ID..FIRST_ID + SLOTS as u32
}

/// The image, magnified, in the middle of exactly its cells.
fn canvas(image: &Image, fit: Fit, light: bool) -> GrayImage {
    let [width, height] = [(fit.cells.width, fit.cell.width), (fit.cells.height, fit.cell.height)]
        .map(|(cells, pixels)| u32::from(cells) * u32::from(pixels));
    let side = fit.magnification * SIDE;
    let pixels = scale::square(image, side);
    let (left, top) = ((width - side as u32) / 2, (height - side as u32) / 2);
    GrayImage::from_fn(width, height, |x, y| {
        let inside = |at: u32, begin: u32| at.checked_sub(begin).map(|at| at as usize).filter(|&at| at < side);
        let pixel = inside(x, left).zip(inside(y, top)).map_or(0, |(x, y)| pixels[y * side + x]);
        image::Luma([if light { 255 - pixel } else { pixel }])
    })
}

#[cfg(test)]
mod tests {
    use super::{Cache, Protocol, SLOTS, canvas, fit};
    use crate::data::PIXELS;
    use ratatui::buffer::Buffer;
    use ratatui::layout::{Rect, Size};

    const CELL: Size = Size { width: 10, height: 20 };

    #[test]
    fn an_image_is_magnified_by_a_whole_number_and_fills_whole_cells() {
        let fitted = fit(CELL, Rect::new(0, 0, 40, 15)).unwrap();
        assert_eq!((fitted.magnification, fitted.cells), (10, Size::new(28, 14)));
        let odd = fit(Size::new(9, 19), Rect::new(0, 0, 40, 15)).unwrap();
        assert_eq!((odd.magnification, odd.cells), (10, Size::new(32, 15)));
        let canvas = canvas(&[255; PIXELS], odd, false);
        assert_eq!(canvas.dimensions(), (32 * 9, 15 * 19));
        assert_eq!(canvas.pixels().filter(|pixel| pixel.0 == [255]).count(), 280 * 280);
        assert_eq!(fit(CELL, Rect::new(0, 0, 2, 1)), None);
        assert_eq!(fit(Size::default(), Rect::new(0, 0, 9, 9)), None);
    }

    /// Draws `image` and gives what the first cell says.
    fn draw(cache: &mut Cache, protocol: Protocol, grey: u8) -> String {
        let area = Rect::new(0, 0, 28, 14);
        let mut buffer = Buffer::empty(area);
        let filled = cache.draw(protocol, &[grey; PIXELS], fit(CELL, area).unwrap(), false, area, &mut buffer);
        assert_eq!(filled, Some(area));
        buffer[(0, 0)].symbol().to_owned()
    }

    #[test]
    fn kitty_is_sent_an_image_once_and_never_holds_more_than_the_slots() {
        let mut cache = Cache::default();
        assert_eq!(cache.farewell(), "");
        let first = draw(&mut cache, Protocol::Kitty, 1);
        assert!(first.starts_with("\x1b_Gq=2,i=") && first.contains("o=z"), "{first}");
        assert!(!draw(&mut cache, Protocol::Kitty, 1).contains("\x1b_G"));
        let mut ids: Vec<String> = Vec::new();
        for grey in 1..20 {
            draw(&mut cache, Protocol::Kitty, grey);
            ids.extend(cache.entries.iter().map(|entry| entry.id.to_string()));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), SLOTS);
        assert!(ids.iter().all(|id| cache.farewell().contains(&format!("d=I,i={id},"))));
        cache.forget();
        assert!(draw(&mut cache, Protocol::Kitty, 19).contains("\x1b_G"), "sent again");
    }

    #[test]
    fn sixel_and_iterm2_say_the_same_each_time() {
        for (protocol, sign) in [(Protocol::Sixel, "\x1bP"), (Protocol::Iterm2, "\x1b]1337;File=inline=1")] {
            let mut cache = Cache::default();
            let first = draw(&mut cache, protocol, 7);
            assert!(first.contains(sign), "{protocol:?}");
            assert_eq!(draw(&mut cache, protocol, 7), first);
            assert_ne!(draw(&mut cache, protocol, 90), first);
        }
    }
}
