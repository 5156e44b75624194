//! Stand-ins until the other branches land; deleted then.
use std::fmt;
use std::str::FromStr;
impl fmt::Display for crate::data::augment::Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pending")
    }
}
impl FromStr for crate::data::augment::Augment {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self::default())
    }
}
impl crate::data::Dataset {
    pub fn doubtful(&self, _i: u32) -> bool {
        false
    }
    pub fn fingerprint(&self) -> u64 {
        0
    }
}
