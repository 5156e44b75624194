//! Memory whose vectors never straddle cache lines, in huge pages.
//!
//! Of the usual pages of 4 KiB the processor can't look up enough for all that lies between the steps of a batch, and walks the
//! page tables again and again. A buffer alone seldom fills a huge page, so buffers are parts of larger *rooms*.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes of a room, unless a single buffer has more. The system gives memory page by page when it is first written.
const ROOM: usize = 8 * HUGE_PAGE;

/// Values that start at a cache line.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<f32>,
    len: usize,
    /// Where they lie, if there are any.
    _room: Option<Arc<Room>>,
}

// SAFETY: a buffer owns its values: no other has the same place in the room.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let values = Layout::array::<f32>(len).expect("less than the address space");
        let (room, place) = Room::with_place_for(values.size());
        let start = place.cast();
        // SAFETY: the place has the bytes of so many values, and a cache line's start is aligned for them.
        unsafe { start.write_bytes(0, len) };
        Self { start, len, _room: Some(room) }
    }

    /// Makes room for `len` values; what was in it is then lost or not.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeros(len);
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, _room: None }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut clone = Self::zeros(self.len);
        clone.copy_from_slice(self);
        clone
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: so many values are there, written when the buffer was made, and the room lives as long as the buffer.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Memory that buffers share.
#[derive(Debug)]
struct Room {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: nothing is read or written through it but by its buffers, each in a place of its own.
unsafe impl Send for Room {}
// SAFETY: as above.
unsafe impl Sync for Room {}

/// The newest room and how many of its bytes are taken.
static NEWEST: Mutex<(Weak<Room>, usize)> = Mutex::new((Weak::new(), 0));

impl Room {
    /// A room, and the start of `bytes` in it that nobody else gets, at a cache line.
    fn with_place_for(bytes: usize) -> (Arc<Self>, NonNull<u8>) {
        let bytes = bytes.next_multiple_of(LINE);
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        let (room, taken) = match newest.0.upgrade() {
            Some(room) if bytes <= room.layout.size() - newest.1 => (room, newest.1),
            _ => (Arc::new(Self::new(bytes.max(ROOM))), 0),
        };
        *newest = (Arc::downgrade(&room), taken + bytes);
        // SAFETY: so many bytes of the room are taken, and there are more.
        let place = unsafe { room.start.add(taken) };
        (room, place)
    }

    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, HUGE_PAGE).expect("less than the address space");
        // SAFETY: it is more than no bytes, since a room has `ROOM` at least.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        {
            use rustix::mm::{Advice, madvise};
            // SAFETY: it is memory of ours, and what is in it stays. Where there are no huge pages, usual ones do.
            let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        }
        Self { start, layout }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and no buffer is left.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeros_at_cache_lines_and_do_not_overlap() {
        // Rooms are filled, left with a rest that is too small, and exceeded by one buffer.
        let lens = [1, 0, 15, 16, 17, 100_000, ROOM / 4 - 1, ROOM / 2, 3, 12_345];
        let mut buffers: Vec<Buffer> = lens.iter().cycle().take(40).map(|&len| Buffer::zeros(len)).collect();
        for (number, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.len(), lens[number % lens.len()]);
            assert!(buffer.is_empty() || buffer.as_ptr().addr().is_multiple_of(LINE));
            assert!(buffer.iter().all(|&value| value == 0.0), "buffer {number}");
            buffer.fill(number as f32);
        }
        // What goes leaves the others as they are, and what comes into being then is zero again.
        let kept: Vec<(usize, Buffer)> = buffers.into_iter().enumerate().step_by(3).collect();
        let clones = kept.clone();
        assert!(Buffer::zeros(50_000).iter().all(|&value| value == 0.0));
        for (number, buffer) in kept.iter().chain(&clones) {
            assert!(buffer.iter().all(|&value| value as usize == *number), "buffer {number}");
        }
    }

    #[test]
    fn a_buffer_grows_but_never_shrinks() {
        let mut buffer = Buffer::default();
        for (wanted, len) in [(0, 0), (10, 10), (4, 10), (11, 11)] {
            buffer.reserve(wanted);
            assert_eq!(buffer.len(), len);
        }
    }
}
