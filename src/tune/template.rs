//! Architectures with gaps: `conv{filters}:3x3 relu {layers * dense{units} relu} dense10`.

use serde::{Deserialize, Serialize};

/// How often a part can be repeated.
const MOST: usize = 50;
/// How deep repeated parts may lie in each other.
const DEEPEST: usize = 4;

/// A text with named gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// The value of this name.
    Value(String),
    /// These pieces, as often as the value of this name says.
    Repeated(String, Vec<Self>),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If a brace has no partner or a gap no name; the sentence says which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let pieces = pieces(&mut rest, 0)?;
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The names of the gaps, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.pieces, &mut names);
        names
    }

    /// The text with the gaps filled.
    ///
    /// # Errors
    /// If a gap has no value, or a part is to be repeated other than 0 to 50 times.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut filled = String::new();
        fill(&self.pieces, &value, &mut filled)?;
        Ok(filled)
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

/// Pieces up to the end, or to the brace that closes a gap.
fn pieces(rest: &mut &str, depth: usize) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        if from.starts_with('}') && depth == 0 {
            return Err(format!("a `}}` after `{before}` closes nothing"));
        }
        pieces.extend((!before.is_empty()).then(|| Piece::Text(before.to_owned())));
        if from.starts_with('}') {
            *rest = from;
            return Ok(pieces);
        }
        *rest = &from[1..];
        pieces.push(gap(rest, depth)?);
    }
    if depth > 0 {
        return Err("a `{` is not closed".into());
    }
    pieces.extend((!rest.is_empty()).then(|| Piece::Text((*rest).to_owned())));
    *rest = "";
    Ok(pieces)
}

/// What stands after an opening brace, up to and with the closing one.
fn gap(rest: &mut &str, depth: usize) -> Result<Piece, String> {
    let end = rest.find(['*', '{', '}']).ok_or("a `{` is not closed")?;
    let (name, from) = rest.split_at(end);
    let name = name.trim();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) {
        return Err(format!("`{name}` is no name for a gap: use letters, digits, `-` and `_`, as in {{units}}"));
    }
    if from.starts_with('{') {
        return Err(format!("`{{{name}` is not closed before the next `{{`: write {{{name} * …}} to repeat a part"));
    }
    let repeated = from.starts_with('*');
    *rest = &from[1..];
    if !repeated {
        return Ok(Piece::Value(name.to_owned()));
    }
    if depth == DEEPEST {
        return Err(format!("parts are repeated more than {DEEPEST} deep"));
    }
    let inside = pieces(rest, depth + 1)?;
    *rest = rest.strip_prefix('}').ok_or("a `{` is not closed")?;
    Ok(Piece::Repeated(name.to_owned(), inside))
}

fn collect<'a>(pieces: &'a [Piece], names: &mut Vec<&'a str>) {
    for piece in pieces {
        let (Piece::Value(name) | Piece::Repeated(name, _)) = piece else { continue };
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
        if let Piece::Repeated(_, inside) = piece {
            collect(inside, names);
        }
    }
}

fn fill(pieces: &[Piece], value: &impl Fn(&str) -> Option<String>, filled: &mut String) -> Result<(), String> {
    let known = |name: &str| value(name).ok_or_else(|| format!("`{{{name}}}` has no values"));
    for piece in pieces {
        match piece {
            Piece::Text(text) => *filled += text,
            Piece::Value(name) => *filled += &known(name)?,
            Piece::Repeated(name, inside) => {
                let times = known(name)?;
                let times = times.parse::<usize>().ok().filter(|times| *times <= MOST);
                let times =
                    times.ok_or_else(|| format!("`{name}` repeats a part: use whole numbers from 0 to {MOST}"))?;
                for _ in 0..times {
                    *filled += " ";
                    fill(inside, value, filled)?;
                }
            }
        }
        // Repetitions in repetitions can't make a text that nobody could hold.
        if filled.len() > 100_000 {
            return Err("the architecture becomes too long".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Template;

    /// Fills a template; `n` is 2, every other name stands for itself.
    #[track_caller]
    fn check(text: &str, names: &[&str], expected: &str) {
        let template = Template::parse(text).unwrap();
        assert_eq!(template.names(), names);
        let filled = template.fill(|name| Some(if name == "n" { "2".into() } else { name.to_uppercase() })).unwrap();
        assert_eq!(filled.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn gaps_are_filled_and_parts_repeated() {
        check("flatten dense10", &[], "flatten dense10");
        check("conv{filters}:{k}x{k} relu", &["filters", "k"], "convFILTERS:KxK relu");
        check("a {n * dense{units} relu} b", &["n", "units"], "a denseUNITS relu denseUNITS relu b");
        check("{n*x {n*y}}", &["n"], "x y y x y y");
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_sentence() {
        for text in ["dense{units", "dense}", "{}", "{a b}", "{a{b}}", "{n * x", "{n*{n*{n*{n*{n*x}}}}}"] {
            let sentence = Template::parse(text).unwrap_err();
            assert!(sentence.len() > 15, "{text}: {sentence}");
        }
        let template = Template::parse("{n * x}").unwrap();
        assert!(template.fill(|_| None).is_err() && template.fill(|_| Some("51".into())).is_err());
    }
}
