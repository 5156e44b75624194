//! The lab's door to other programs: whether it is open, and what those who come may want.

use std::net::SocketAddr;

/// Whether the lab answers requests from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It does, at this address.
    Open(SocketAddr),
    /// It does not.
    Closed,
}

/// What is wanted of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The probability of each class.
    Classes,
    /// Also which pixels speak for the predicted one.
    Saliency,
}

/// Reads `127.0.0.1:8080`, `8080` or `off`.
pub fn parse(text: &str) -> Result<Door, String> {
    if text == "off" {
        return Ok(Door::Closed);
    }
    let address = text.parse::<u16>().map(|port| SocketAddr::from(([127, 0, 0, 1], port))).ok();
    let address = address.or_else(|| text.parse().ok()).map(Door::Open);
    address.ok_or_else(|| "use an address and port such as 127.0.0.1:8080, a port alone, or off".into())
}
