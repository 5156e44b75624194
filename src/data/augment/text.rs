//! Augmentations as text: `rotate=10,shift=0.1,zoom=0.1`, or `none`, or `tutorial`, to which more may be added.

use std::fmt;
use std::str::FromStr;

use super::Augment;

/// A part of the grammar: one augmentation with its range.
pub struct Setting {
    /// The name before the `=`.
    pub name: &'static str,
    /// The value may be 0 up to this.
    pub most: f32,
    /// What the value means.
    pub about: &'static str,
    /// Where the value lies.
    pub field: fn(&mut Augment) -> &mut f32,
}

/// All augmentations.
pub const SETTINGS: [Setting; 7] = [
    Setting { name: "rotate", most: 180.0, about: "degrees either way", field: |augment| &mut augment.rotate },
    Setting { name: "shift", most: 0.5, about: "fraction of the side", field: |augment| &mut augment.shift },
    Setting { name: "zoom", most: 0.5, about: "fraction, in or out", field: |augment| &mut augment.zoom },
    Setting { name: "shear", most: 45.0, about: "degrees either way", field: |augment| &mut augment.shear },
    Setting { name: "elastic", most: 5.0, about: "displacement in pixels", field: |augment| &mut augment.elastic },
    Setting { name: "noise", most: 0.5, about: "deviation, white is 1", field: |augment| &mut augment.noise },
    Setting { name: "erase", most: 1.0, about: "chance of a rectangle", field: |augment| &mut augment.erase },
];

/// Why a text is no augmentation, and what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AugmentError(String);

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let mut separator = "";
        for setting in &SETTINGS {
            let value = *(setting.field)(&mut copy);
            if value != 0.0 {
                write!(f, "{separator}{}={value}", setting.name)?;
                separator = ",";
            }
        }
        f.write_str(if separator.is_empty() { "none" } else { "" })
    }
}

impl FromStr for Augment {
    type Err = AugmentError;

    fn from_str(text: &str) -> Result<Self, AugmentError> {
        let mut augment = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None if part == "none" => augment = Self::default(),
                None if part == "tutorial" => augment = Self::TUTORIAL,
                None => return Err(unknown(part)),
                Some((name, value)) => set(&mut augment, name.trim_end(), value.trim_start())?,
            }
        }
        Ok(augment)
    }
}

fn set(augment: &mut Augment, name: &str, value: &str) -> Result<(), AugmentError> {
    let setting = SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| unknown(name))?;
    let Setting { most, about, .. } = setting;
    match value.parse::<f32>() {
        Ok(number) if (0.0..=*most).contains(&number) => *(setting.field)(augment) = number,
        _ => return Err(AugmentError(format!("{name} goes from 0 to {most} ({about}), but is {value:?}"))),
    }
    Ok(())
}

fn unknown(name: &str) -> AugmentError {
    let names = SETTINGS.iter().map(|setting| setting.name);
    let list = names.clone().collect::<Vec<_>>().join(", ");
    if names.clone().any(|known| known == name) {
        return AugmentError(format!("{name} needs a value, such as {name}=0.1"));
    }
    let nearest = names.chain(["none", "tutorial"]).max_by(|a, b| {
        let [a, b] = [a, b].map(|known| strsim::jaro_winkler(known, name));
        a.total_cmp(&b)
    });
    AugmentError(format!(
        "there is no augmentation {name:?}; did you mean {}? There are {list}, each as name=value, and none and tutorial",
        nearest.unwrap_or("none")
    ))
}

#[cfg(test)]
mod tests {
    use super::Augment;

    #[test]
    fn good_texts() {
        let check = |text: &str, shown: &str| {
            assert_eq!(text.parse::<Augment>().map(|augment| augment.to_string()), Ok(shown.into()));
        };
        check("none", "none");
        check("rotate=0", "none");
        check("tutorial", "rotate=10,shift=0.1,zoom=0.1");
        check(" zoom = 0.1 , rotate=10,shift=1e-1 ", "rotate=10,shift=0.1,zoom=0.1");
        check("tutorial,elastic=1.5,rotate=15", "rotate=15,shift=0.1,zoom=0.1,elastic=1.5");
        check("shear=45,noise=0.5,erase=1", "shear=45,noise=0.5,erase=1");
        assert_eq!("tutorial".parse(), Ok(Augment::TUTORIAL));
    }

    #[test]
    fn bad_texts_are_told_what_would_be_good() {
        let check = |text: &str, part: &str| {
            let problem = text.parse::<Augment>().unwrap_err().to_string();
            assert!(problem.contains(part), "{problem:?} should say {part:?}");
        };
        check("rotat=10", "did you mean rotate?");
        check("shif", "did you mean shift?");
        check("tutorail", "did you mean tutorial?");
        check("", "none and tutorial");
        check("rotate", "rotate needs a value");
        check("rotate=181", "rotate goes from 0 to 180 (degrees either way), but is \"181\"");
        check("zoom=-0.1", "zoom goes from 0 to 0.5");
        check("zoom=NaN", "zoom goes from 0 to 0.5");
        check("zoom=0.1=2", "zoom goes from 0 to 0.5");
        check("shift=inf", "shift goes from 0 to 0.5");
        check("rotate=10 shift=0.1", "rotate goes from 0 to 180");
    }
}
