//! Architectures as text: parsing, with errors that name the item and the nearest word, and printing.

use std::fmt;
use std::str::FromStr;

use super::check::MAX_NESTING;
use super::{Arch, ArchError, DropoutRate, Layer, PRESETS, Preset};

/// The words that layers begin with, each with an example.
const WORDS: [(&str, &str); 9] = [
    ("conv", "conv32:3x3"),
    ("pool", "pool2"),
    ("relu", "relu"),
    ("bn", "bn"),
    ("dropout", "dropout0.3"),
    ("flatten", "flatten"),
    ("dense", "dense64"),
    ("gap", "gap"),
    ("res", "res(conv32:3x3:p1 relu)"),
];

impl FromStr for Arch {
    type Err = ArchError;

    /// The preset of this name, or the layers that the text lists.
    fn from_str(text: &str) -> Result<Self, ArchError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ArchError(format!("an architecture is a preset ({}) or a list of layers", preset_names())));
        }
        let mut parser = Parser { tokens: tokens(Preset::spelled_out(text)).peekable() };
        let layers = parser.layers(0)?;
        match parser.tokens.next() {
            None => Self::new(layers),
            Some(token) => Err(ArchError(format!("`{token}` stands outside of a residual block, res(… | …)"))),
        }
    }
}

impl fmt::Display for Arch {
    /// The canonical text, which parses to the same layers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_layers(&self.layers, f)
    }
}

fn write_layers(layers: &[Layer], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, layer) in layers.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(f, "{space}{layer}")?;
    }
    Ok(())
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv { filters, kernel: [height, width], stride, padding } => {
                write!(f, "conv{filters}:{height}x{width}")?;
                if *stride != 1 {
                    write!(f, ":s{stride}")?;
                }
                if *padding != 0 {
                    write!(f, ":p{padding}")?;
                }
                Ok(())
            }
            Self::MaxPool { size, stride } if size == stride => write!(f, "pool{size}"),
            Self::MaxPool { size, stride } => write!(f, "pool{size}:s{stride}"),
            Self::Relu => f.write_str("relu"),
            Self::BatchNorm => f.write_str("bn"),
            Self::Dropout(DropoutRate::Setting) => f.write_str("dropout"),
            Self::Dropout(DropoutRate::Fixed(rate)) => write!(f, "dropout{rate}"),
            Self::Flatten => f.write_str("flatten"),
            Self::Dense { units } => write!(f, "dense{units}"),
            Self::GlobalAveragePool => f.write_str("gap"),
            Self::Residual { body, shortcut } => {
                f.write_str("res(")?;
                write_layers(body, f)?;
                if !shortcut.is_empty() {
                    f.write_str(" | ")?;
                    write_layers(shortcut, f)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// The items of a text, with each bracket and bar as an item of its own.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',')
        .flat_map(|item| item.split_inclusive(['(', ')', '|']))
        .flat_map(|item| match item.char_indices().next_back() {
            Some((at, '(' | ')' | '|')) => [&item[..at], &item[at..]],
            _ => [item, ""],
        })
        .filter(|item| !item.is_empty())
}

struct Parser<'a, I: Iterator<Item = &'a str>> {
    tokens: std::iter::Peekable<I>,
}

impl<'a, I: Iterator<Item = &'a str>> Parser<'a, I> {
    /// Layers up to the end, a bar or a closing bracket.
    fn layers(&mut self, depth: usize) -> Result<Vec<Layer>, ArchError> {
        let mut layers = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(*token, ")" | "|")) {
            layers.push(if token == "res" { self.residual(depth)? } else { layer(token)? });
        }
        Ok(layers)
    }

    fn residual(&mut self, depth: usize) -> Result<Layer, ArchError> {
        let fail = |problem: String| Err(ArchError(problem));
        if self.tokens.next_if_eq(&"(").is_none() {
            return fail("`res` needs its layers in brackets, as in res(conv32:3x3:p1 relu)".into());
        }
        if depth == MAX_NESTING {
            return fail(format!("residual blocks lie more than {MAX_NESTING} deep in each other"));
        }
        let body = self.layers(depth + 1)?;
        let shortcut = if self.tokens.next_if_eq(&"|").is_some() { self.layers(depth + 1)? } else { Vec::new() };
        match self.tokens.next() {
            Some(")") => Ok(Layer::Residual { body, shortcut }),
            Some(_) => fail("a residual block has two ways, res(… | …), not three".into()),
            None => fail("a residual block is not closed: `)` is missing at the end".into()),
        }
    }
}

/// One layer from its item, such as `conv32:3x3:s2`.
fn layer(item: &str) -> Result<Layer, ArchError> {
    let mut parts = item.split(':');
    let head = parts.next().unwrap_or_default();
    let digits = head.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(head.len());
    let (word, amount) = head.split_at(digits);
    let Some((_, example)) = WORDS.iter().find(|(known, _)| *known == word) else {
        return Err(unknown(item, word));
    };
    let fail = |problem: &str| ArchError(format!("`{item}`: {problem}, as in {example}"));
    let count = |what| number(amount).ok_or_else(|| fail(&format!("a whole number of {what} must follow `{word}`")));
    let layer = match word {
        "conv" => {
            let filters = count("filters")?;
            let kernel = parts.next().and_then(kernel).ok_or_else(|| fail("the kernel is missing"))?;
            let (mut stride, mut padding) = (1, 0);
            for part in parts.by_ref() {
                match option(part) {
                    Some(('s', value)) => stride = value,
                    Some(('p', value)) => padding = value,
                    _ => return Err(fail(&format!("`{part}` is no option (:s2 is a stride, :p1 padding)"))),
                }
            }
            Layer::Conv { filters, kernel, stride, padding }
        }
        "pool" => {
            let size = count("pixels")?;
            let mut stride = size;
            for part in parts.by_ref() {
                match option(part) {
                    Some(('s', value)) => stride = value,
                    _ => return Err(fail(&format!("`{part}` is no option (:s2 is a stride)"))),
                }
            }
            Layer::MaxPool { size, stride }
        }
        "dense" => Layer::Dense { units: count("units")? },
        "dropout" if amount.is_empty() => Layer::Dropout(DropoutRate::Setting),
        "dropout" => Layer::Dropout(DropoutRate::Fixed(
            rate(amount).ok_or_else(|| fail("a rate from 0 to below 1, or nothing, must follow `dropout`"))?,
        )),
        _ if !amount.is_empty() => return Err(fail("nothing may follow the word")),
        "relu" => Layer::Relu,
        "bn" => Layer::BatchNorm,
        "flatten" => Layer::Flatten,
        _ => Layer::GlobalAveragePool,
    };
    match parts.next() {
        None => Ok(layer),
        Some(part) => Err(fail(&format!("`:{part}` is too much"))),
    }
}

fn unknown(item: &str, word: &str) -> ArchError {
    if matches!(item, "(" | ")" | "|") {
        return ArchError(format!("`{item}` belongs to a residual block, as in res(conv32:3x3:p1 relu)"));
    }
    let known = WORDS.iter().map(|(known, _)| *known).chain(PRESETS.iter().map(|preset| preset.name));
    let near = known
        .map(|known| (strsim::damerau_levenshtein(known, &word.to_ascii_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2).min(3))
        .min();
    let help = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => format!("layers are {}, presets {}", WORDS.map(|(word, _)| word).join(", "), preset_names()),
    };
    ArchError(format!("`{item}` is no layer: {help}"))
}

fn preset_names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

/// Plain digits, few enough that products of them can't overflow.
fn number(text: &str) -> Option<usize> {
    (text.len() <= 7 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn rate(text: &str) -> Option<f32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|rate| plain && (0.0..1.0).contains(rate))
}

/// `3x5` as rows and columns.
fn kernel(text: &str) -> Option<[usize; 2]> {
    let (height, width) = text.split_once(['x', '×'])?;
    Some([number(height)?, number(width)?])
}

/// `s2` as its letter and number.
fn option(text: &str) -> Option<(char, usize)> {
    let letter = text.chars().next()?;
    Some((letter, number(&text[letter.len_utf8()..])?))
}
