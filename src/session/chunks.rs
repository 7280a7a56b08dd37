//! Buffers that were read into and hold messages, which stay where they lie: [`Chunks`].

use std::sync::Mutex;

/// The size of a buffer to read into. An offset in it has 16 bits.
pub const BUFFER: usize = 1 << OFFSET_BITS;

const OFFSET_BITS: u32 = 16;

/// So many at most: their numbers have 16 bits too. Back-pressure comes long before.
const MAX_CHUNKS: usize = 1 << (u32::BITS - OFFSET_BITS);

/// Those of all sessions together, so that one that has gone quiet keeps none.
static SPARE: Spare = Spare(Mutex::new(Vec::new()));

/// Buffers that hold nothing. Nobody waits for the lock: memory can be had elsewhere, and in the child of a fork it may be
/// locked for ever.
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.try_lock().ok()?.pop()
    }

    fn put(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        if let Ok(mut spare) = self.0.try_lock() {
            let room = MAX_SPARE.saturating_sub(spare.len());
            spare.extend(buffers.filter(|buffer| buffer.capacity() == BUFFER).take(room));
        }
    }
}

/// 1 MiB: what is read while Lua deals with what came before.
const MAX_SPARE: usize = 16;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Chunks {
    /// Where the buffer begins that is being looked through, and up to where messages in it can stay.
    begin: usize,
    len: usize,
    /// A message has stayed there.
    in_use: bool,
    kept: Vec<Vec<u8>>,
    /// The memory of `kept`.
    size: usize,
}

/// A buffer that holds nothing, with memory if there is one to spare.
pub(super) fn spare() -> Vec<u8> {
    SPARE.take().unwrap_or_default()
}

impl Chunks {
    /// Messages in the `len` bytes at the address `begin` stay there, until [`keep`](Self::keep) is given the buffer that
    /// begins there.
    pub(super) fn leave_in(&mut self, begin: usize, len: usize) {
        if self.kept.len() < MAX_CHUNKS {
            (self.begin, self.len) = (begin, len.min(BUFFER));
        }
    }

    /// The place of what begins at `bytes`, if that stays.
    #[inline]
    pub(super) fn place(&mut self, bytes: &[u8]) -> Option<u32> {
        let offset = bytes.as_ptr().addr().wrapping_sub(self.begin);
        if offset >= self.len {
            return None;
        }
        self.in_use = true;
        Some((self.kept.len() as u32) << OFFSET_BITS | offset as u32)
    }

    /// Ends [`leave_in`](Self::leave_in): takes the buffer if it is in use, and leaves one without memory.
    pub(super) fn keep(&mut self, buffer: &mut Vec<u8>) {
        self.len = 0;
        if std::mem::take(&mut self.in_use) {
            self.size += buffer.capacity();
            self.kept.push(std::mem::take(buffer));
        }
    }

    /// The bytes from a place on.
    #[inline]
    pub(super) fn at(&self, place: u32) -> &[u8] {
        &self.kept[(place >> OFFSET_BITS) as usize][place as usize % BUFFER..]
    }

    /// The memory that is held.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Makes the buffers ready for others.
    pub(super) fn recycle(self) {
        SPARE.put(self.kept.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps a buffer with a message; its place.
    fn fill(chunks: &mut Chunks, mut buffer: Vec<u8>, at: usize) -> Option<u32> {
        chunks.leave_in(buffer.as_ptr().addr(), buffer.len());
        let place = chunks.place(&buffer[at..]);
        chunks.keep(&mut buffer);
        place
    }

    #[test]
    fn places_stay_right_when_other_buffers_follow() {
        let mut chunks = Chunks::default();
        let first = fill(&mut chunks, b"one two".to_vec(), 4).unwrap();
        let second = fill(&mut chunks, b"three".to_vec(), 0).unwrap();
        assert_eq!((chunks.at(first), chunks.at(second)), (&b"two"[..], &b"three"[..]));
        assert!(chunks.size() >= 12);
    }

    #[test]
    fn only_what_lies_in_the_buffer_at_hand_stays() {
        let mut chunks = Chunks::default();
        let (mut buffer, other) = (b"buffer".to_vec(), b"other".to_vec());
        assert_eq!(chunks.place(&buffer), None, "none is at hand");
        chunks.leave_in(buffer.as_ptr().addr(), buffer.len());
        assert_eq!(chunks.place(&other), None);
        chunks.keep(&mut buffer);
        assert_eq!((&buffer[..], chunks.size()), (&b"buffer"[..], 0), "it is given back");
        assert_eq!(chunks.place(&buffer), None);
    }

    #[test]
    fn of_a_large_packet_the_start_has_a_place() {
        let mut chunks = Chunks::default();
        let mut buffer = vec![1; BUFFER + 2];
        buffer[BUFFER - 1] = 2;
        let last = fill(&mut chunks, buffer.clone(), BUFFER - 1).unwrap();
        assert_eq!(chunks.at(last), [2, 1, 1]);
        assert_eq!(fill(&mut chunks, buffer, BUFFER), None);
    }

    #[test]
    fn there_are_no_more_than_have_numbers() {
        let mut chunks = Chunks { kept: vec![Vec::new(); MAX_CHUNKS - 1], ..Chunks::default() };
        let last = fill(&mut chunks, b"last".to_vec(), 0).unwrap();
        assert_eq!(chunks.at(last), b"last");
        assert_eq!(fill(&mut chunks, b"none".to_vec(), 0), None);
    }

    #[test]
    fn so_much_is_spare_and_no_more() {
        let spare = Spare(Mutex::new(Vec::new()));
        let buffers = |n| (0..n).map(|_| Vec::with_capacity(BUFFER));
        spare.put([Vec::new(), Vec::with_capacity(BUFFER + 1)].into_iter().chain(buffers(1)));
        spare.put(buffers(MAX_SPARE));
        let taken: Vec<_> = std::iter::from_fn(|| spare.take()).collect();
        assert_eq!(taken.len(), MAX_SPARE);
        assert!(taken.iter().all(|buffer| buffer.capacity() == BUFFER && buffer.is_empty()));
    }
}
