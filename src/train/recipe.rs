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

/// Half of the tutorial's augmentation, which does well also on Fashion-MNIST, whose pieces fill their pictures.
const LIGHT: (Setting, &str) = (Setting::Augment, "rotate=5,shift=0.05,zoom=0.05");

/// Thirty epochs of `strided` in one cycle, augmented so.
const fn strided(augment: (Setting, &'static str)) -> [(Setting, &'static str); 5] {
    [
        augment,
        (Setting::Dropout, "0.4"),
        (Setting::Schedule, "onecycle"),
        (Setting::LearningRate, "3e-3"),
        (Setting::Epochs, "30"),
    ]
}

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
            settings: &[(Setting::Epochs, "2"), (Setting::LearningRate, "6e-3"), (Setting::Schedule, "onecycle")],
            ..Self::TUTORIAL
        },
        Self {
            name: "augmented",
            about: "the tutorial's CNN with its augmentation, dropout, a cosine schedule and early stopping",
            settings: &[
                (Setting::Augment, "tutorial"),
                (Setting::Dropout, "0.3"),
                (Setting::Schedule, "cosine"),
                (Setting::Epochs, "20"),
                (Setting::EarlyStop, "5"),
            ],
            ..Self::TUTORIAL
        },
        Self {
            name: "distilled",
            about: "the tutorial's CNN, which learns from trained networks (--teacher) beside the labels",
            settings: &[
                LIGHT,
                (Setting::Schedule, "onecycle"),
                (Setting::LearningRate, "3e-3"),
                (Setting::Epochs, "20"),
            ],
            is_taught: true,
            ..Self::TUTORIAL
        },
        Self {
            name: "best",
            about: "one network as good as it gets: `strided`, augmented, thirty epochs in one cycle",
            arch: "strided",
            settings: &const { strided(LIGHT) },
            ..Self::TUTORIAL
        },
        Self {
            name: "ensemble",
            about: "five networks like `best`, with the tutorial's augmentation, whose probabilities are averaged",
            arch: "strided",
            settings: &const { strided((Setting::Augment, "tutorial")) },
            members: 5,
            ..Self::TUTORIAL
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
