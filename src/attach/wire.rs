//! What the two ends say to each other: one line each to begin with, then messages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::GREETING;
use super::update::Update;
use crate::command::{Command, Depth};
use crate::data::{CLASSES, Image};
use crate::error::{Error, Failure};
use crate::reply::{Classified, Reply};
use crate::train::Goal;

/// Bytes of an opening line at most: those of another version must fit too.
pub const LINE: usize = 512;
/// What stands before the reason in the opening line of a lab that takes nobody in.
const REFUSED: &str = " refuses: ";

/// A command from a client.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Names the answer.
    pub id: u64,
    /// The command.
    pub asked: Asked,
}

/// A command as it travels.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// As it would be typed.
    Line(String),
    /// A line that goes along with what was drawn.
    Drawn(String, Vec<u8>),
    /// The classes of images, which nobody types.
    Classify(Vec<Vec<u8>>),
}

impl From<Command> for Asked {
    fn from(command: Command) -> Self {
        match command {
            Command::Classify { images, .. } => Self::Classify(images.iter().map(|image| image.to_vec()).collect()),
            Command::Draw { keep, name, image: Some(image) } => {
                Self::Drawn(Command::Draw { keep, name, image: None }.to_string(), image.to_vec())
            }
            command => Self::Line(command.to_string()),
        }
    }
}

impl Asked {
    /// The command that it is.
    ///
    /// # Errors
    /// If it is none.
    pub fn command(self) -> Result<Command, Error> {
        let parse = |line: &str| Command::parse(line)?.ok_or_else(|| Error::Usage("the line holds no command".into()));
        let sized = |image: Vec<u8>| {
            Image::try_from(image).map_err(|_| Error::Usage("an image has another size than 28×28".into()))
        };
        match self {
            Self::Line(line) => parse(&line),
            Self::Drawn(line, image) => match parse(&line)? {
                Command::Draw { keep, name, .. } => {
                    Ok(Command::Draw { keep, name, image: Some(Box::new(sized(image)?)) })
                }
                command => Ok(command),
            },
            Self::Classify(images) => {
                let images = images.into_iter().map(sized).collect::<Result<_, _>>()?;
                Ok(Command::Classify { images, depth: Depth::Classes })
            }
        }
    }
}

/// What the lab tells a client.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    /// What a client must know of the run's surroundings; comes first.
    Welcome(Welcome),
    /// What changed.
    State(Box<Update>),
    /// A command was answered; the state that it led to came before.
    Answer {
        /// Which.
        id: u64,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// The run has ended, and this became of it. Nothing comes after.
    Farewell(String),
}

/// Where the run lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The folder of its data, from the root; the MNIST inside the binary if there is none.
    pub data: Option<PathBuf>,
    /// [`Dataset::fingerprint`](crate::data::Dataset::fingerprint) of its data, which does not travel.
    pub fingerprint: u64,
    /// Where its sessions are kept, from the root.
    pub sessions: PathBuf,
}

/// An answer as a screen shows it. What it shows of a reply besides its words is in the state.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done(String),
    /// Training began.
    Started(Goal),
    /// Lines to read.
    Text(String),
    /// The probability of each class for images that were brought; without saliency, which no screen asks for.
    Classified {
        /// Of each image.
        probabilities: Vec<[f32; CLASSES]>,
        /// Epochs done.
        epoch: u32,
        /// Steps made.
        step: u64,
    },
    /// The lab is about to end.
    Closing,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Started(goal) => Self::Started(goal),
            Reply::Closing => Self::Closing,
            Reply::Classified(Classified { probabilities, epoch, step, .. }) => {
                Self::Classified { probabilities, epoch, step }
            }
            Reply::Done(_) | Reply::Saved { .. } | Reply::Rewound { .. } => Self::Done(reply.to_string()),
            reply => Self::Text(reply.to_string()),
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done(text) => Self::Done(text),
            Answer::Started(goal) => Self::Started(goal),
            Answer::Text(text) => Self::Help(text),
            Answer::Classified { probabilities, epoch, step } => {
                Self::Classified(Classified { probabilities, saliency: Vec::new(), epoch, step })
            }
            Answer::Closing => Self::Closing,
        }
    }
}

/// The line with which a client comes, who wants so many states a second at most.
pub fn knock(fps: u8) -> String {
    format!("{GREETING} {fps}\n")
}

/// Reads that line: how many states a second. `None` if it is no client's.
pub fn read_knock(line: &str) -> Option<Result<u8, String>> {
    if let Some(fps) = line.strip_prefix(GREETING).and_then(|rest| rest.strip_prefix(' ')) {
        return fps.trim_end().parse().ok().filter(|fps| (1..=60).contains(fps)).map(Ok);
    }
    let other = line.strip_prefix("mnist-lab ")?.split_whitespace().next()?;
    Some(Err(format!("it is another version than `mnist-lab {other}`: attach with the program that trains")))
}

/// The line of a lab that takes a client in.
pub fn open() -> String {
    format!("{GREETING}\n")
}

/// The line of a lab that does not.
pub fn refusal(reason: &str) -> String {
    format!("{GREETING}{REFUSED}{reason}\n")
}

/// Reads what the lab at `place` answers to a knock.
///
/// # Errors
/// If it takes nobody in, is of another version, or no lab.
pub fn read_answer(line: &str, place: &str) -> Result<(), Error> {
    let line = line.trim_end();
    if line == GREETING {
        return Ok(());
    }
    Err(Error::Failed(match (line.split_once(REFUSED), line.strip_prefix("mnist-lab ")) {
        (Some((name, reason)), _) if name.starts_with("mnist-lab ") => format!("the run at {place}, {name}, {reason}"),
        (_, Some(other)) => {
            format!(
                "the run at {place} is `mnist-lab {other}`, this is `{GREETING}`: attach with the program that trains"
            )
        }
        (_, None) => {
            format!("what listens on {place} is no run of mnist-lab: give the path that `train --listen` told")
        }
    }))
}
