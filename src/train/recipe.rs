//! Named sets of architecture and settings.

use std::str::FromStr;

use super::settings::{Setting, SettingError};

/// A named set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The name that stands for it.
    pub name: &'static str,
    /// What it is good for.
    pub about: &'static str,
    /// A preset's name, or layers.
    pub arch: &'static str,
    /// What differs from the default settings.
    pub settings: &'static [(Setting, &'static str)],
    /// How many networks, each with a seed of its own, answer together.
    pub members: u16,
    /// Whether it needs a teacher.
    pub is_taught: bool,
}

/// The augmentation is the one that does well also on Fashion-MNIST, whose pieces fill their pictures: half of the tutorial's.
const BEST: &[(Setting, &str)] = &[
    (Setting::Augment, "rotate=5,shift=0.05,zoom=0.05"),
    (Setting::Dropout, "0.4"),
    (Setting::Schedule, "onecycle"),
    (Setting::LearningRate, "3e-3"),
    (Setting::Epochs, "30"),
];

impl Recipe {
    /// The Keras tutorial's CNN and settings: the default.
    pub const TUTORIAL: Self = Self {
        name: "tutorial",
        about: "the Keras tutorial's CNN and settings",
        arch: "tutorial",
        settings: &[],
        members: 1,
        is_taught: false,
    };

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TUTORIAL,
        Self {
            name: "quick",
            about: "the tutorial's CNN at 99 % in two epochs, with a learning rate that rises and falls",
            arch: "tutorial",
            settings: &[(Setting::Epochs, "2"), (Setting::LearningRate, "6e-3"), (Setting::Schedule, "onecycle")],
            members: 1,
            is_taught: false,
        },
        Self {
            name: "augmented",
            about: "the tutorial's CNN with its augmentation, dropout, a cosine schedule and early stopping",
            arch: "tutorial",
            settings: &[
                (Setting::Augment, "tutorial"),
                (Setting::Dropout, "0.3"),
                (Setting::Schedule, "cosine"),
                (Setting::Epochs, "20"),
                (Setting::EarlyStop, "5"),
            ],
            members: 1,
            is_taught: false,
        },
        Self {
            name: "distilled",
            about: "the tutorial's CNN, which learns from trained networks (--teacher) beside the labels",
            arch: "tutorial",
            settings: &[
                (Setting::Augment, "rotate=5,shift=0.05,zoom=0.05"),
                (Setting::Schedule, "onecycle"),
                (Setting::LearningRate, "3e-3"),
                (Setting::Epochs, "20"),
            ],
            members: 1,
            is_taught: true,
        },
        Self {
            name: "best",
            about: "one network as good as it gets: `strided`, augmented, thirty epochs in one cycle",
            arch: "strided",
            settings: BEST,
            members: 1,
            is_taught: false,
        },
        Self {
            name: "ensemble",
            about: "four networks of the kind of `best`, whose probabilities are averaged",
            arch: "strided",
            settings: BEST,
            members: 4,
            is_taught: false,
        },
    ];
}

impl FromStr for Recipe {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        Self::ALL.into_iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            let names = Self::ALL.map(|recipe| recipe.name).join(", ");
            SettingError(format!("there is no recipe `{name}`: there are {names}"))
        })
    }
}
