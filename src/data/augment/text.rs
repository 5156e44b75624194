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
    /// By how much a key turns it.
    pub step: f32,
    /// Where the value lies.
    pub field: fn(&mut Augment) -> &mut f32,
}

/// All augmentations.
pub const SETTINGS: [Setting; 7] = [
    Setting {
        name: "rotate",
        most: 180.0,
        about: "degrees either way",
        step: 5.0,
        field: |augment| &mut augment.rotate,
    },
    Setting {
        name: "shift",
        most: 0.5,
        about: "fraction of the side",
        step: 0.05,
        field: |augment| &mut augment.shift,
    },
    Setting { name: "zoom", most: 0.5, about: "fraction, in or out", step: 0.05, field: |augment| &mut augment.zoom },
    Setting { name: "shear", most: 45.0, about: "degrees either way", step: 5.0, field: |augment| &mut augment.shear },
    Setting {
        name: "elastic",
        most: 5.0,
        about: "displacement in pixels",
        step: 0.5,
        field: |augment| &mut augment.elastic,
    },
    Setting {
        name: "noise",
        most: 0.5,
        about: "deviation, white is 1",
        step: 0.05,
        field: |augment| &mut augment.noise,
    },
    Setting {
        name: "erase",
        most: 1.0,
        about: "chance of a rectangle",
        step: 0.1,
        field: |augment| &mut augment.erase,
    },
];

impl Setting {
    /// The next value that is a whole number of steps, up or down; the end of the range where there is none.
    pub fn turned(&self, value: f32, up: bool) -> f32 {
        // The nearest decimal of a step, so that 0.15 does not become 0.150000002 on its way.
        let step = (f64::from(self.step) * 1000.0).round() / 1000.0;
        let steps = f64::from(value) / step;
        let whole = steps.round();
        // A value within rounding of a step is on it.
        let on_step = (steps - whole).abs() < 1e-4;
        let next = match (on_step, up) {
            (true, true) => whole + 1.0,
            (true, false) => whole - 1.0,
            (false, true) => steps.ceil(),
            (false, false) => steps.floor(),
        };
        ((next * step) as f32).clamp(0.0, self.most)
    }
}

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
    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{Augment, SETTINGS};

    #[test]
    fn values_are_turned_by_steps() {
        let check = |name: &str, value: f32, up: bool, expected: f32| {
            let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
            assert_eq!(setting.turned(value, up).to_string(), expected.to_string(), "{name} {value}");
        };
        check("rotate", 0.0, true, 5.0);
        check("rotate", 12.0, true, 15.0);
        check("rotate", 12.0, false, 10.0);
        check("rotate", 180.0, true, 180.0);
        check("shift", 0.1, true, 0.15);
        check("zoom", 0.15, false, 0.1);
        check("elastic", 0.5, false, 0.0);
        check("elastic", 0.0, false, 0.0);
        check("erase", 0.95, true, 1.0);
    }

    #[test]
    fn each_value_on_the_way_is_short_and_ends_are_reached() {
        for setting in &SETTINGS {
            let mut value = 0.0;
            let mut steps = 0;
            while value < setting.most {
                value = setting.turned(value, true);
                steps += 1;
                assert!(value.to_string().len() <= 4 && steps <= 36, "{} {value}", setting.name);
            }
            for _ in 0..steps {
                value = setting.turned(value, false);
            }
            assert!(value.abs() < f32::EPSILON, "{} comes back to {value}", setting.name);
        }
    }

    proptest! {
        #[test]
        fn a_turned_value_is_in_range_and_moves_its_way(number in 0..SETTINGS.len(), part in 0.0f32..=1.0, up in any::<bool>()) {
            let setting = &SETTINGS[number];
            let value = part * setting.most;
            let turned = setting.turned(value, up);
            prop_assert!((0.0..=setting.most).contains(&turned));
            prop_assert!(if up { turned >= value } else { turned <= value }, "{value} to {turned}");
            prop_assert!((turned - value).abs() <= setting.step * 1.001);
            prop_assert_eq!(turned.to_string().parse(), Ok(turned));
        }

        #[test]
        fn any_number_can_be_turned(number in 0..SETTINGS.len(), value in any::<f32>(), up in any::<bool>()) {
            let turned = SETTINGS[number].turned(value, up);
            prop_assert!(turned.is_nan() || (0.0..=SETTINGS[number].most).contains(&turned));
        }
    }

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
