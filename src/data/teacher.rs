//! What trained networks make of the training samples, for another to learn: knowledge distillation (Hinton et al. 2015,
//! arXiv:1503.02531).

use std::fmt;

use super::CLASSES;

/// The answers of one network, or of several together. They are found once and stay with the run that learns from them, which so
/// needs the networks no more.
#[derive(Clone, Default, PartialEq)]
pub struct Teacher {
    /// The sessions whose networks they are.
    pub sessions: Vec<String>,
    /// Logits `[sample, class]` of the first samples of the training set as they are, the mean of all networks'.
    pub logits: Vec<[f32; CLASSES]>,
}

impl Teacher {
    /// Takes the answers of the network of `session` in, to the same samples as those that are there.
    pub fn join(&mut self, session: String, logits: Vec<[f32; CLASSES]>) {
        self.sessions.push(session);
        if self.sessions.len() == 1 {
            self.logits = logits;
            return;
        }
        let share = 1.0 / self.sessions.len() as f32;
        for (mean, logit) in self.logits.as_flattened_mut().iter_mut().zip(logits.as_flattened()) {
            *mean += share * (logit - *mean);
        }
    }
}

/// Without the answers, of which there are half a million.
impl fmt::Debug for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Teacher({}: {} samples)", self.sessions.join(", "), self.logits.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Teacher;

    #[test]
    fn all_networks_count_alike() {
        let mut teacher = Teacher::default();
        for (session, logit) in [("a", 1.0), ("b", 4.0), ("c", -2.0)] {
            teacher.join(session.into(), vec![[logit; 10], [2.0 * logit; 10]]);
        }
        assert_eq!(teacher.sessions, ["a", "b", "c"]);
        assert_eq!(teacher.logits, [[1.0; 10], [2.0; 10]]);
    }
}
