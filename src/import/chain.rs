//! Layers in the order of their inputs as a way from the image to the result, with residual blocks where two ways meet.

use super::config::DescribedLayer;

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The layer at this place.
    Layer(usize),
    /// Two ways that are added.
    Residual {
        /// The way to the first input of the sum; never empty.
        body: Vec<Link>,
        /// The way to the other; empty for the block's own input.
        shortcut: Vec<Link>,
    },
}

/// The way from the first layer, left out, to `last`. Each layer lies on it once.
pub fn chain(layers: &[DescribedLayer], last: usize) -> Result<Vec<Link>, String> {
    let mut finder = Finder { layers, forks: vec![None; layers.len()], used: vec![false; layers.len()] };
    finder.find_forks()?;
    let links = finder.way(0, last)?;
    match (1..layers.len()).find(|&place| !finder.used[place]) {
        None => Ok(links),
        Some(place) => Err(format!("layer `{}` does not lie on the way to the output", layers[place].name)),
    }
}

struct Finder<'a> {
    layers: &'a [DescribedLayer],
    /// Where the two ways into a sum part.
    forks: Vec<Option<usize>>,
    used: Vec<bool>,
}

impl Finder<'_> {
    /// Inputs come before what they go into, so that each sum finds those inside its ways done.
    fn find_forks(&mut self) -> Result<(), String> {
        for (place, layer) in self.layers.iter().enumerate().skip(1) {
            match (layer.class.as_str(), layer.inputs.as_slice()) {
                ("Add", &[a, b]) => {
                    let (left, right) = (self.spine(a), self.spine(b));
                    self.forks[place] = left.into_iter().find(|place| right.contains(place));
                }
                ("Add", inputs) => {
                    return Err(format!("layer `{}` adds {} inputs instead of two", layer.name, inputs.len()));
                }
                (_, [_]) => {}
                (class, inputs) => {
                    return Err(format!("layer `{}` ({class}) has {} inputs instead of one", layer.name, inputs.len()));
                }
            }
        }
        Ok(())
    }

    /// What comes before `place` and itself, the insides of blocks left out.
    fn spine(&self, mut place: usize) -> Vec<usize> {
        let mut spine = vec![place];
        while let Some(before) = self.before(place) {
            spine.push(before);
            place = before;
        }
        spine
    }

    fn before(&self, place: usize) -> Option<usize> {
        self.forks[place].or_else(|| self.layers[place].inputs.first().copied())
    }

    /// The way behind `start` to `end`.
    fn way(&mut self, start: usize, end: usize) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        let mut place = end;
        while place != start {
            let layer = &self.layers[place];
            if std::mem::replace(&mut self.used[place], true) {
                return Err(format!("layer `{}` goes into several that are no residual block", layer.name));
            }
            let before = self.before(place).ok_or_else(|| format!("layer `{}` has no input", layer.name))?;
            links.push(match self.forks[place] {
                None => Link::Layer(place),
                Some(fork) => self.block(fork, place)?,
            });
            place = before;
        }
        links.reverse();
        Ok(links)
    }

    fn block(&mut self, fork: usize, sum: usize) -> Result<Link, String> {
        let layer = &self.layers[sum];
        let (first, second) = (self.way(fork, layer.inputs[0])?, self.way(fork, layer.inputs[1])?);
        match (first.is_empty(), second.is_empty()) {
            (true, true) => Err(format!("layer `{}` adds a value to itself", layer.name)),
            (true, false) => Ok(Link::Residual { body: second, shortcut: first }),
            (false, _) => Ok(Link::Residual { body: first, shortcut: second }),
        }
    }
}
