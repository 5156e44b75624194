//! How much of the bodies that are on their way is held at once: many large or slow ones must not fill the memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// Bytes of all bodies together.
const MOST: usize = 128 << 20;

/// What is left for bodies.
#[derive(Clone, Debug)]
pub struct Memory(Arc<AtomicUsize>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(MOST)))
    }
}

impl Memory {
    /// A share for one request, still empty.
    pub fn share(&self) -> Share {
        Share(Arc::new(Held { memory: self.clone(), bytes: AtomicUsize::new(0), refused: AtomicBool::new(false) }))
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// The part of the memory that one request holds, until all its copies are dropped.
#[derive(Clone, Debug)]
pub struct Share(Arc<Held>);

#[derive(Debug)]
struct Held {
    memory: Memory,
    bytes: AtomicUsize,
    refused: AtomicBool,
}

impl Share {
    /// The body, whose bytes are counted as they come; it breaks off when there is no memory left.
    pub fn count(&self, body: Body) -> Body {
        Body::new(Counted { body, share: self.clone() })
    }

    /// Whether a body broke off.
    pub fn was_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.fetch_add(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

struct Counted {
    body: Body,
    share: Share,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let held = &self.share.0;
            if !held.memory.take(bytes) {
                held.refused.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(axum::Error::new("no memory is left for bodies"))));
            }
            held.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
