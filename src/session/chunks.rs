//! Buffers that were read into and hold messages, which stay where they lie: [`Chunks`].

use std::sync::Mutex;

/// The size of a buffer to read into. An offset in it has 16 bits.
pub const BUFFER: usize = 1 << OFFSET_BITS;

const OFFSET_BITS: u32 = 16;

/// So many at most: their numbers have 16 bits too. Back-pressure comes long before.
const MAX_CHUNKS: usize = 1 << (u32::BITS - OFFSET_BITS);

/// Buffers that hold nothing, of all sessions together, so that one that has gone quiet keeps none. Nobody waits for the
/// lock: memory can be had elsewhere, and in the child of a fork it may be locked for ever.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

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

    /// Ends [`leave_in`](Self::leave_in): takes the buffer if it is in use, and leaves a spare one or one without memory.
    pub(super) fn keep(&mut self, buffer: &mut Vec<u8>) {
        self.len = 0;
        if std::mem::take(&mut self.in_use) {
            self.size += buffer.capacity();
            let spare = SPARE.try_lock().ok().and_then(|mut spare| spare.pop());
            self.kept.push(std::mem::replace(buffer, spare.unwrap_or_default()));
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
        if let Ok(mut spare) = SPARE.try_lock() {
            let buffers = self.kept.into_iter().filter(|buffer| buffer.capacity() == BUFFER);
            let room = MAX_SPARE.saturating_sub(spare.len());
            spare.extend(buffers.take(room));
        }
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
        let kept = (0..2 * MAX_SPARE).map(|_| Vec::with_capacity(BUFFER)).collect();
        Chunks { kept, ..Chunks::default() }.recycle();
        assert!(SPARE.lock().unwrap().len() <= MAX_SPARE);
        let mut chunks = Chunks::default();
        let mut buffer = b"used".to_vec();
        chunks.leave_in(buffer.as_ptr().addr(), buffer.len());
        chunks.place(&buffer);
        chunks.keep(&mut buffer);
        // other tests run beside this one
        assert!([0, BUFFER].contains(&buffer.capacity()));
    }
}
