//! A packet that arrives in parts: [`Partial`], and its place while it is read on: [`Lent`].

use super::error::Error;
use super::frame::Head;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Its start, or (`done`) all of it; as far as it is kept. Empty while it is lent.
    pub(super) bytes: Vec<u8>,
    /// Its header, as soon as that is whole.
    pub(super) head: Option<Head>,
    /// How many bytes of it came after the kept ones.
    dropped: usize,
    /// It has been returned and is cleared by the next call.
    pub(super) done: bool,
}

impl Partial {
    /// Takes what belongs to the packet from the front of `input`.
    pub(super) fn gather(&mut self, input: &mut &[u8], limit: usize, accepts: u16) -> Result<(), Error> {
        debug_assert!(self.head.is_none() || !self.bytes.is_empty(), "it is lent");
        let head = loop {
            if let Some(head) = self.head {
                break head;
            }
            let Some(byte) = input.split_off_first() else { return Ok(()) };
            self.bytes.push(*byte);
            self.head = Head::read(&self.bytes, accepts)?;
        };
        // Twice for a PUBLISH above the limit: how much is kept of it depends on the length of its topic.
        loop {
            let missing = head.kept(limit, &self.bytes) - self.bytes.len();
            if missing == 0 {
                break;
            }
            let arrived = input.split_off(..missing.min(input.len())).expect("no more than there is");
            self.bytes.extend_from_slice(arrived);
            if arrived.len() < missing {
                return Ok(());
            }
        }
        let unwanted = head.size - self.bytes.len() - self.dropped;
        let arrived = input.split_off(..unwanted.min(input.len())).expect("no more than there is");
        self.dropped += arrived.len();
        self.done = arrived.len() == unwanted;
        Ok(())
    }

    /// Lends it, if `much` of it has arrived, as much has yet to come, and all of that is kept.
    pub(super) fn lend(&mut self, limit: usize, much: usize) -> Option<Lent> {
        let head = self.head.filter(|head| head.kept(limit, &self.bytes) == head.size)?;
        let arrived = self.bytes.len();
        (arrived.min(head.size - arrived) >= much)
            .then(|| Lent { bytes: std::mem::take(&mut self.bytes), size: head.size })
    }
}

/// The start of a large packet, lent by [`Deframer::lend`](super::Deframer::lend).
pub struct Lent {
    /// What has arrived. May go on beyond the packet, where there was memory left.
    pub(super) bytes: Vec<u8>,
    /// Of the whole packet.
    size: usize,
}

impl Lent {
    /// The buffer that the next bytes are to be appended to, as far as its memory goes. That is at most four times what has
    /// arrived, whatever the packet announces: with twice as much, moving it costs as much as reading it.
    pub fn room(&mut self) -> &mut Vec<u8> {
        let arrived = self.bytes.len();
        if self.bytes.capacity() == arrived {
            self.bytes.reserve_exact((3 * arrived).min(self.size - arrived));
        }
        &mut self.bytes
    }

    /// Takes what follows the packet.
    pub(super) fn split_off_rest(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.size.min(self.bytes.len()))
    }
}
