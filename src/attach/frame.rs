//! Frames: length, checksum, message. What is damaged, foreign or too long ends a connection and nothing else.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a message to the lab: a line that somebody typed, or a paste.
pub const TO_LAB: usize = 1 << 18;
/// Bytes of a message to a client: a part of a state.
pub const TO_CLIENT: usize = 1 << 26;
/// Length and CRC-32, both with the lowest byte first.
const HEAD: usize = 8;

/// Why a connection can't go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed or was closed.
    #[error("the line is down: {0}")]
    Line(#[from] io::Error),
    /// No frame, or a damaged one.
    #[error("what came is damaged: {0}")]
    Damaged(&'static str),
    /// More than anything that is sent.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
}

/// The frame of a message of at most `limit` bytes.
///
/// # Errors
/// If it is longer.
pub fn encode(message: &impl Serialize, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEAD];
    bincode::serde::encode_into_std_write(message, &mut frame, bincode::config::standard())
        .map_err(|_| FrameError::Damaged("it can't be written"))?;
    let length = frame.len() - HEAD;
    if length > limit {
        return Err(FrameError::TooLong(length));
    }
    let checksum = crc32fast::hash(&frame[HEAD..]);
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[4..HEAD].copy_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

/// Waits for the next message of at most `limit` bytes.
///
/// # Errors
/// If the line is down, or what came is no such message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read, limit: usize) -> Result<T, FrameError> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let mut body = vec![0; length(head, limit)?];
    from.read_exact(&mut body)?;
    decode(head, &body)
}

/// The same without a thread that waits. To be polled to its end: a message that was begun would be lost.
///
/// # Errors
/// If the line is down, or what came is no such message.
pub async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<T, FrameError> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; length(head, limit)?];
    from.read_exact(&mut body).await?;
    decode(head, &body)
}

fn length([a, b, c, d, ..]: [u8; HEAD], limit: usize) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > limit { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

fn decode<T: DeserializeOwned>([.., a, b, c, d]: [u8; HEAD], body: &[u8]) -> Result<T, FrameError> {
    if crc32fast::hash(body) != u32::from_le_bytes([a, b, c, d]) {
        return Err(FrameError::Damaged("its checksum is wrong"));
    }
    // A length inside that lies would otherwise reserve what it says.
    let config = bincode::config::standard().with_limit::<TO_CLIENT>();
    match bincode::serde::decode_from_slice(body, config) {
        Ok((message, used)) if used == body.len() => Ok(message),
        Ok(_) => Err(FrameError::Damaged("bytes are left over")),
        Err(_) => Err(FrameError::Damaged("it is no message")),
    }
}
