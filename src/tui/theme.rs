//! Colours by role, degraded to what the terminal can show, and the characters that drawings are made of.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorDepth {
    /// None: `NO_COLOR`. Then only bold, underlined and reversed tell things apart.
    None,
    /// The 16 of ANSI, whose exact shades are the user's.
    Sixteen,
    /// The 256 of xterm.
    Indexed,
    /// 24 bit.
    True,
}

impl ColorDepth {
    /// What the environment says: `NO_COLOR` (non-empty), `COLORTERM`, `TERM`.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        if set("NO_COLOR").is_some() {
            return Self::None;
        }
        if set("COLORTERM").is_some_and(|depth| depth == "truecolor" || depth == "24bit") || term.ends_with("-direct") {
            return Self::True;
        }
        if term.contains("256color") || term.contains("kitty") || term.contains("ghostty") || term.contains("alacritty")
        {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }

    /// The colour nearest to `rgb` that can be shown; [`Color::Reset`] where there are none.
    pub fn nearest(self, rgb: [u8; 3]) -> Color {
        match self {
            Self::None => Color::Reset,
            Self::True => Color::Rgb(rgb[0], rgb[1], rgb[2]),
            Self::Indexed => Color::Indexed(nearest_indexed(rgb)),
            Self::Sixteen => nearest_of_sixteen(rgb),
        }
    }
}

/// The nearest of xterm's 6×6×6 cube and its 24 greys.
fn nearest_indexed(rgb: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let steps = rgb.map(|value| {
        let away = |step: &usize| LEVELS[*step].abs_diff(value);
        (0..LEVELS.len()).min_by_key(away).unwrap_or(0)
    });
    let mean = rgb.iter().map(|&value| u32::from(value)).sum::<u32>() / 3;
    let grey = (mean.saturating_sub(3) / 10).min(23) as u8;
    let grey_level = 8 + 10 * grey;
    let cube = distance(steps.map(|step| LEVELS[step]), rgb);
    if distance([grey_level; 3], rgb) < cube {
        232 + grey
    } else {
        (16 + 36 * steps[0] + 6 * steps[1] + steps[2]) as u8
    }
}

/// The nearest of the 16, taken to be xterm's.
fn nearest_of_sixteen(rgb: [u8; 3]) -> Color {
    const SIXTEEN: [(Color, [u8; 3]); 16] = [
        (Color::Black, [0, 0, 0]),
        (Color::Red, [205, 0, 0]),
        (Color::Green, [0, 205, 0]),
        (Color::Yellow, [205, 205, 0]),
        (Color::Blue, [0, 0, 238]),
        (Color::Magenta, [205, 0, 205]),
        (Color::Cyan, [0, 205, 205]),
        (Color::Gray, [229, 229, 229]),
        (Color::DarkGray, [127, 127, 127]),
        (Color::LightRed, [255, 0, 0]),
        (Color::LightGreen, [0, 255, 0]),
        (Color::LightYellow, [255, 255, 0]),
        (Color::LightBlue, [92, 92, 255]),
        (Color::LightMagenta, [255, 0, 255]),
        (Color::LightCyan, [0, 255, 255]),
        (Color::White, [255, 255, 255]),
    ];
    SIXTEEN.iter().min_by_key(|(_, shade)| distance(*shade, rgb)).map_or(Color::Reset, |(color, _)| *color)
}

/// Squared distance of two colours.
fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// Whether the terminal writes dark on light or light on dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Light on dark.
    #[default]
    Dark,
    /// Dark on light.
    Light,
}

impl Background {
    /// What `COLORFGBG` says (`15;0`: foreground; background), else dark.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = variable("COLORFGBG").and_then(|value| value.rsplit(';').next()?.parse::<u8>().ok());
        if matches!(number, Some(7 | 9..=15)) { Self::Light } else { Self::Dark }
    }
}

/// Which characters may be drawn with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Lines, blocks and braille.
    #[default]
    Unicode,
    /// The 95 printable ones of ASCII.
    Ascii,
}

impl Glyphs {
    /// ASCII where the locale is set and not UTF-8.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| variable(name).filter(|v| !v.is_empty()));
        let term = variable("TERM").unwrap_or_default();
        match locale.map(|locale| locale.to_lowercase()) {
            Some(locale) if !locale.contains("utf-8") && !locale.contains("utf8") => Self::Ascii,
            _ if term == "linux" => Self::Ascii,
            _ => Self::Unicode,
        }
    }

    /// The characters for what is drawn often.
    pub const fn symbols(self) -> &'static Symbols {
        match self {
            Self::Unicode => &UNICODE,
            Self::Ascii => &ASCII,
        }
    }
}

/// The characters for what is drawn often; each a single column wide.
#[derive(Debug)]
pub struct Symbols {
    /// Of panes.
    pub border: border::Set<'static>,
    /// Of the pane that has the focus.
    pub focused_border: border::Set<'static>,
    /// A bar over part of a line: what is done and what is left.
    pub bar: [&'static str; 2],
    /// Bars: a full cell.
    pub full: &'static str,
    /// Sparklines and fine bars, from nearly nothing to full.
    pub levels: &'static [&'static str],
    /// Between facts on a line.
    pub dot: &'static str,
    /// A text was cut here.
    pub ellipsis: &'static str,
    /// What is selected.
    pub pointer: &'static str,
    /// A setting was changed here.
    pub marker: &'static str,
    /// Something is unsaved.
    pub unsaved: &'static str,
    /// A value that is no number.
    pub nan: &'static str,
    /// There is more to the left, to the right, above, below.
    pub arrows: [&'static str; 4],
    /// `9×2`
    pub times: &'static str,
    /// A vertical line.
    pub vertical: &'static str,
    /// A horizontal line.
    pub horizontal: &'static str,
    /// A horizontal line with a tick below.
    pub tick: &'static str,
}

const UNICODE: Symbols = Symbols {
    border: border::ROUNDED,
    focused_border: border::ROUNDED,
    bar: ["━", "─"],
    full: "█",
    levels: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    dot: "·",
    ellipsis: "…",
    pointer: "▸",
    marker: "◆",
    unsaved: "●",
    nan: "×",
    arrows: ["◂", "▸", "▴", "▾"],
    times: "×",
    vertical: "│",
    horizontal: "─",
    tick: "┬",
};

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

const ASCII: Symbols = Symbols {
    border: ASCII_BORDER,
    focused_border: border::Set { horizontal_top: "=", horizontal_bottom: "=", ..ASCII_BORDER },
    bar: ["#", "."],
    full: "#",
    levels: &["_", ".", ":", "-", "=", "+", "*", "#"],
    dot: "-",
    ellipsis: "~",
    pointer: ">",
    marker: "+",
    unsaved: "*",
    nan: "x",
    arrows: ["<", ">", "^", "v"],
    times: "x",
    vertical: "|",
    horizontal: "-",
    tick: "+",
};

/// How everything looks: one style for each role. Panes never name a colour of their own, except through [`Theme::rgb`].
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// How many colours there are.
    pub depth: ColorDepth,
    /// Dark or light.
    pub background: Background,
    /// Which characters.
    pub glyphs: Glyphs,
    /// What is read.
    pub text: Style,
    /// What is only glanced at: units, labels, axes.
    pub dim: Style,
    /// A pane's title.
    pub title: Style,
    /// A pane's frame.
    pub border: Style,
    /// The frame and title of the pane that has the focus.
    pub focus: Style,
    /// The line or cell that keys act on.
    pub selection: Style,
    /// A line of a list over other things.
    pub popup: Style,
    /// The one of it that is chosen.
    pub popup_selection: Style,
    /// Right, saved, better.
    pub good: Style,
    /// Wrong, failed, diverged.
    pub bad: Style,
    /// To look at.
    pub warning: Style,
    /// Names, commands, the prompt.
    pub accent: Style,
    /// A key in the footer or the help.
    pub key: Style,
    /// The curve of the training samples.
    pub train: Style,
    /// The curve of the validation split.
    pub validation: Style,
    /// Where a setting was changed, on the charts.
    pub marker: Style,
    /// Other runs' curves; see [`Theme::other`].
    others: [Style; 6],
}

/// A role's colour: exact, and which of the 16 stands for it.
struct Tone([u8; 3], Color);

impl Theme {
    /// The theme for what the terminal can show. The palette is Okabe and Ito's (2008), which the colour-blind can tell apart.
    pub fn new(depth: ColorDepth, background: Background, glyphs: Glyphs) -> Self {
        let color = |tone: Tone| match depth {
            ColorDepth::None => Color::Reset,
            ColorDepth::Sixteen => tone.1,
            _ => depth.nearest(tone.0),
        };
        let style = |dark: Tone, light: Tone| {
            let tone = if background == Background::Dark { dark } else { light };
            if depth == ColorDepth::None { Style::new() } else { Style::new().fg(color(tone)) }
        };
        let plain = Style::new();
        // Without colours nothing may carry a colour at all: crossterm then drops the reversal with it.
        let colorless = depth == ColorDepth::None;
        let marked = |style: Style, modifier| if colorless { style.add_modifier(modifier) } else { style };

        let sky = style(Tone([86, 180, 233], Color::LightCyan), Tone([0, 114, 178], Color::Blue));
        let orange = style(Tone([230, 159, 0], Color::Yellow), Tone([176, 112, 0], Color::Yellow));
        let green = style(Tone([61, 190, 145], Color::LightGreen), Tone([0, 128, 92], Color::Green));
        let vermillion = style(Tone([232, 110, 42], Color::LightRed), Tone([200, 80, 0], Color::Red));
        let yellow = style(Tone([240, 228, 66], Color::LightYellow), Tone([130, 100, 0], Color::Yellow));
        let purple = style(Tone([214, 140, 180], Color::LightMagenta), Tone([160, 70, 125], Color::Magenta));
        let dim = style(Tone([138, 144, 153], Color::DarkGray), Tone([110, 114, 120], Color::DarkGray));
        let gold = style(Tone([240, 228, 66], Color::LightYellow), Tone([130, 100, 0], Color::LightRed));
        let blue = style(Tone([110, 130, 255], Color::LightBlue), Tone([60, 60, 200], Color::LightBlue));
        let grey = style(Tone([200, 200, 200], Color::Gray), Tone([90, 90, 90], Color::DarkGray));
        let border = style(Tone([78, 84, 94], Color::DarkGray), Tone([178, 182, 188], Color::Gray));
        let selection = match (depth, background) {
            (ColorDepth::None | ColorDepth::Sixteen, _) => plain.add_modifier(Modifier::REVERSED),
            (_, Background::Dark) => plain.bg(depth.nearest([44, 58, 74])),
            (_, Background::Light) => plain.bg(depth.nearest([214, 230, 244])),
        };
        let popup_selection = match depth {
            ColorDepth::None | ColorDepth::Sixteen => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            _ => selection.add_modifier(Modifier::BOLD | Modifier::REVERSED),
        };
        Self {
            depth,
            background,
            glyphs,
            text: plain,
            dim,
            // Its own colour even on a frame, which would lend it that of the border.
            title: if colorless { plain } else { plain.fg(Color::Reset) }.add_modifier(Modifier::BOLD),
            border,
            focus: sky.add_modifier(Modifier::BOLD),
            selection,
            popup: selection,
            popup_selection,
            good: green,
            bad: marked(vermillion, Modifier::BOLD),
            warning: marked(yellow, Modifier::BOLD),
            accent: marked(sky, Modifier::BOLD),
            key: marked(sky, Modifier::BOLD),
            train: sky,
            validation: marked(orange, Modifier::BOLD),
            marker: purple,
            others: [green, gold, blue, purple, vermillion, grey].map(|style| marked(style, Modifier::DIM)),
        }
    }

    /// The characters for what is drawn often.
    pub fn symbols(&self) -> &'static Symbols {
        self.glyphs.symbols()
    }

    /// The curve of another run, always the same for the same slot.
    pub fn other(&self, slot: isize) -> Style {
        self.others[slot.rem_euclid(self.others.len() as isize) as usize]
    }

    /// Any colour, as near as the terminal can show it.
    pub fn rgb(&self, rgb: [u8; 3]) -> Color {
        self.depth.nearest(rgb)
    }
}

#[cfg(test)]
mod tests {
    use super::{Background, ColorDepth, Glyphs, Theme};
    use ratatui::style::Color;

    #[track_caller]
    fn check(environment: &[(&str, &str)], expected: ColorDepth) {
        let variable = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        assert_eq!(ColorDepth::detect(variable), expected, "{environment:?}");
    }

    #[test]
    fn the_environment_tells_the_depth() {
        check(&[("TERM", "xterm"), ("COLORTERM", "truecolor")], ColorDepth::True);
        check(&[("TERM", "xterm-256color")], ColorDepth::Indexed);
        check(&[("TERM", "screen")], ColorDepth::Sixteen);
        check(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")], ColorDepth::None);
        check(&[("TERM", "xterm-256color"), ("NO_COLOR", "")], ColorDepth::Indexed);
    }

    #[test]
    fn colours_degrade_to_their_neighbours() {
        assert_eq!(ColorDepth::Indexed.nearest([255, 0, 0]), Color::Indexed(196));
        assert_eq!(ColorDepth::Indexed.nearest([128, 128, 128]), Color::Indexed(244));
        assert_eq!(ColorDepth::Sixteen.nearest([250, 5, 5]), Color::LightRed);
        assert_eq!(ColorDepth::None.nearest([250, 5, 5]), Color::Reset);
    }

    #[test]
    fn without_colours_no_style_has_one() {
        let theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
        for style in [theme.dim, theme.title, theme.focus, theme.selection, theme.bad, theme.train, theme.validation] {
            assert!(style.fg.is_none() && style.bg.is_none(), "{style:?}");
        }
        assert_ne!(theme.train, theme.validation);
    }

    #[test]
    fn curves_and_verdicts_differ_at_every_depth() {
        for depth in [ColorDepth::Sixteen, ColorDepth::Indexed, ColorDepth::True] {
            for background in [Background::Dark, Background::Light] {
                let theme = Theme::new(depth, background, Glyphs::Unicode);
                assert_ne!(theme.train.fg, theme.validation.fg);
                assert_ne!(theme.good.fg, theme.bad.fg);
                for slot in -3..3 {
                    let style = theme.other(slot);
                    assert!(style.fg != theme.train.fg && style.fg != theme.validation.fg, "{depth:?} {slot}");
                    assert!((slot + 1..3).all(|other| theme.other(other).fg != style.fg), "{depth:?} {slot}");
                }
            }
        }
    }
}
