//! Names as people type them.

/// Which of `known` the misspelt `name` is meant to be: the nearest within two edits, in capitals or not.
pub fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(known, &name), *known));
    distances.filter(|(distance, _)| *distance <= 2).min().map(|(_, known)| known)
}
