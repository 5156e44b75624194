//! Asks the terminal who it is, before anything else reads what it says.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// XTVERSION, which terminals of today answer with their name, and DA1, which all answer: after its answer nothing comes.
const QUESTIONS: &[u8] = b"\x1b[>q\x1b[c";
/// Longer than any line takes: an answer that came later would be taken for keys.
const PATIENCE: Duration = Duration::from_secs(2);

/// The terminal's name and version as it says them, `kitty(0.41.1)`; `None` if it doesn't, or there is no terminal.
pub fn version() -> Option<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    enable_raw_mode().ok()?;
    let answers = ask(&mut terminal);
    let _ = disable_raw_mode();
    read_version(&answers?)
}

/// Whether a terminal of this version draws images at kitty's placeholders, which came with kitty 0.28.
pub fn has_placeholders(version: &str) -> bool {
    let Some(number) = version.strip_prefix("kitty(") else { return true };
    let mut parts = number.split(['.', ')']).map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(0), Some(28))
}

fn ask(terminal: &mut File) -> Option<Vec<u8>> {
    terminal.write_all(QUESTIONS).ok()?;
    let deadline = Instant::now() + PATIENCE;
    let (mut answers, mut bytes) = (Vec::new(), [0; 256]);
    while !are_whole(&answers) {
        let left = Timespec::try_from(deadline.checked_duration_since(Instant::now())?).ok()?;
        if poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&left)).ok()? == 0 {
            return None;
        }
        let length = terminal.read(&mut bytes).ok().filter(|length| *length > 0)?;
        answers.extend_from_slice(&bytes[..length]);
    }
    Some(answers)
}

/// Whether the answer to the last question, `ESC [ ? … c`, is among what came.
fn are_whole(answers: &[u8]) -> bool {
    let begin = answers.windows(3).position(|window| window == b"\x1b[?");
    begin.is_some_and(|begin| answers[begin..].contains(&b'c'))
}

/// What stands in the answer to the first, `ESC P > | … ESC \`.
fn read_version(answers: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answers);
    let (_, version) = text.split_once("\x1bP>|")?;
    Some(version.split_once("\x1b\\")?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{are_whole, has_placeholders, read_version};

    #[track_caller]
    fn check(answers: &str, whole: bool, version: Option<&str>) {
        assert_eq!(are_whole(answers.as_bytes()), whole, "{answers:?}");
        assert_eq!(read_version(answers.as_bytes()).as_deref(), version, "{answers:?}");
    }

    #[test]
    fn answers_are_told_from_what_was_typed() {
        check("\x1bP>|kitty(0.41.1)\x1b\\\x1b[?62;c", true, Some("kitty(0.41.1)"));
        check("\x1b[?62;c", true, None);
        check("ecc\x1b[A", false, None);
        check("\x1bP>|kitty(0.41.1)\x1b\\\x1b[?62", false, Some("kitty(0.41.1)"));
        check("", false, None);
    }

    #[test]
    fn old_kittys_have_no_placeholders() {
        for (version, expected) in [
            ("kitty(0.26.5)", false),
            ("kitty(0.28.0)", true),
            ("kitty(1.0.0)", true),
            ("kitty(?)", false),
            ("ghostty 1.1.3", true),
        ] {
            assert_eq!(has_placeholders(version), expected, "{version}");
        }
    }
}
