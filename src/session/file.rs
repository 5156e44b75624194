//! The format of a session file: a checked header, then a bincode payload of structs that belong to the format alone.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNISTLAB` |
//! | 4 | format version, little-endian |
//! | 8 | length of the payload, little-endian |
//! | 32 | BLAKE3 of the payload |
//! | … | the payload |
//!
//! Version 1 has a run alone, version 2 the tree of its branches as well, version 3 the norms of the layers in all histories,
//! version 4 what a teacher says of the training samples.
//!
//! Settings and the architecture are kept as the text that a person would type, so that reading them back checks them, and
//! a new setting is no new version.

mod parts;
mod tree;

use std::io::{self, Read};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DataMark, Session};
use crate::data::teacher::Teacher;
use crate::train::tree::Tree;
use crate::train::{RunConfig, RunState};
use parts::{FileBest, FileHistory, FileNetwork, FileNorms, FileProgress, FileSettings, FileTeacher, content};
use tree::FileTree;

/// The version that this program writes; it reads all up to it.
pub const VERSION: u32 = 4;

const MAGIC: &[u8; 8] = b"MNISTLAB";
const HEADER: usize = 8 + 4 + 8 + 32;
/// No session reaches it: the largest architecture with Adam, the moving average of its weights and the same of its best epoch
/// takes 1.6 GB.
const LIMIT: usize = 2 << 30;

/// Why bytes are no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It does not begin as one.
    #[error("this is no mnist-lab session: it does not begin with MNISTLAB")]
    Foreign,
    /// A later program wrote it.
    #[error("format version {0} is newer than this program's {VERSION}: update mnist-lab")]
    Newer(u32),
    /// It is shorter or longer than it says.
    #[error(
        "the file is {found} bytes long but says {expected}: it was cut off or something was added; take a backup, or train again"
    )]
    Length {
        /// What the header says, header included.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A byte changed.
    #[error("the checksum does not match: the file was damaged; take a backup, or train again")]
    Checksum,
    /// It is whole but makes no sense.
    #[error("the file is whole but can't be understood: {0}")]
    Content(String),
}

/// The payload of version 1, and what the later ones begin with.
#[derive(Serialize, Deserialize)]
struct FileSession {
    data_name: String,
    data_fingerprint: u64,
    arch: String,
    seed: u64,
    validation_split: f64,
    settings: FileSettings,
    progress: FileProgress,
    network: FileNetwork,
    best: FileBest,
    history: FileHistory,
}

/// The payload of version 2, and what version 3 begins with.
#[derive(Serialize, Deserialize)]
struct FileSessionWithTree {
    session: FileSession,
    tree: FileTree,
}

/// The payload of version 3, and what version 4 begins with.
#[derive(Serialize, Deserialize)]
struct FileSessionWithNorms {
    session: FileSessionWithTree,
    /// Of the run's own history.
    norms: FileNorms,
    /// Of the whole history of each branch; empty for that which the run itself is on.
    branches: Vec<FileNorms>,
}

/// The payload of version 4.
#[derive(Serialize, Deserialize)]
struct FileSessionWithTeacher {
    session: FileSessionWithNorms,
    teacher: FileTeacher,
}

/// `session` as the bytes of a file.
///
/// # Errors
/// If it is too large for the format.
pub fn encode(session: &Session) -> Result<Vec<u8>, FileError> {
    let payload = bincode::serde::encode_to_vec(FileSessionWithTeacher::from(session), bincode::config::standard())
        .map_err(|error| FileError::Content(error.to_string()))?;
    if payload.len() > LIMIT {
        return Err(FileError::Content(format!("{} bytes are more than a session may have", payload.len())));
    }
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// The session that `bytes` hold.
///
/// # Errors
/// If they are not the whole, undamaged file of one that this program understands.
pub fn decode(bytes: &[u8]) -> Result<Session, FileError> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(FileError::Foreign)?;
    if magic != MAGIC {
        return Err(FileError::Foreign);
    }
    let short = FileError::Length { expected: HEADER as u64, found: bytes.len() as u64 };
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(short.clone())?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(short.clone())?;
    let (checksum, payload) = rest.split_first_chunk::<32>().ok_or(short)?;
    let version = u32::from_le_bytes(*version);
    if version > VERSION {
        return Err(FileError::Newer(version));
    }
    let length = u64::from_le_bytes(*length);
    if length != payload.len() as u64 {
        let expected = length.saturating_add(HEADER as u64);
        return Err(FileError::Length { expected, found: bytes.len() as u64 });
    }
    if blake3::hash(payload).as_bytes() != checksum {
        return Err(FileError::Checksum);
    }
    match version {
        1 => parse::<FileSession>(payload)?.with(None, Vec::new(), |_| Ok(Tree::default())),
        2 => {
            let FileSessionWithTree { session, tree } = parse(payload)?;
            session.with(None, Vec::new(), |run| tree.of(run, Vec::new()))
        }
        3 => parse::<FileSessionWithNorms>(payload)?.with(None),
        _ => {
            let FileSessionWithTeacher { session, teacher } = parse(payload)?;
            session.with(parts::teacher_from_file(teacher)?)
        }
    }
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FileError> {
    let (file, used) = bincode::serde::decode_from_slice(payload, bincode::config::standard().with_limit::<LIMIT>())
        .map_err(|error| FileError::Content(error.to_string()))?;
    if used != payload.len() {
        return Err(FileError::Content("there are bytes after its end".into()));
    }
    Ok(file)
}

/// Reads a file to its end, but no further than a session can reach.
pub(super) fn read_limited(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take((HEADER + LIMIT + 1) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl From<&Session> for FileSessionWithTeacher {
    fn from(session: &Session) -> Self {
        Self { session: session.into(), teacher: parts::teacher_to_file(session.run.config.teacher.as_deref()) }
    }
}

impl From<&Session> for FileSessionWithNorms {
    fn from(session: &Session) -> Self {
        let tips = session.tree.branches().iter().map(|branch| branch.tip.as_ref());
        Self {
            norms: parts::norms_to_file(&session.run.history),
            branches: tips.map(|tip| tip.map_or_else(Vec::new, |tip| parts::norms_to_file(&tip.history))).collect(),
            session: session.into(),
        }
    }
}

impl From<&Session> for FileSessionWithTree {
    fn from(session: &Session) -> Self {
        let RunState { config, settings, progress, network, best, history } = &session.run;
        let file = FileSession {
            data_name: session.data.name.clone(),
            data_fingerprint: session.data.fingerprint,
            arch: config.arch.to_string(),
            seed: config.seed,
            validation_split: config.validation_split,
            settings: parts::settings_to_file(settings),
            progress: progress.into(),
            network: network.into(),
            best: parts::best_to_file(best.as_ref()),
            history: history.into(),
        };
        Self { session: file, tree: FileTree::new(&session.tree, &session.run.history) }
    }
}

impl FileSessionWithNorms {
    /// The session of a run with this teacher.
    fn with(self, teacher: Option<Arc<Teacher>>) -> Result<Session, FileError> {
        let Self { session, norms, branches } = self;
        session.session.with(teacher, norms, |run| session.tree.of(run, branches))
    }
}

impl FileSession {
    /// The session with this teacher, these norms in its history and the tree that `tree` makes for its run.
    fn with(
        self,
        teacher: Option<Arc<Teacher>>,
        norms: FileNorms,
        tree: impl FnOnce(&RunState) -> Result<Tree, FileError>,
    ) -> Result<Session, FileError> {
        let settings = parts::settings_from_file(&self.settings)?;
        if !(0.0..1.0).contains(&self.validation_split) {
            return Err(content("validation split", &self.validation_split));
        }
        let run = RunState {
            config: RunConfig {
                arch: self.arch.parse().map_err(|error| content("architecture", &error))?,
                seed: self.seed,
                validation_split: self.validation_split,
                teacher,
            },
            settings,
            progress: self.progress.into(),
            network: self.network.try_into()?,
            best: parts::best_from_file(self.best)?,
            history: parts::history_from_file(self.history, norms),
        };
        let tree = tree(&run)?;
        Ok(Session { data: DataMark { name: self.data_name, fingerprint: self.data_fingerprint }, run, tree })
    }
}
