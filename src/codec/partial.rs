//! A packet that arrives in parts: [`Partial`], and its place while it is read on: [`Lent`].

use super::error::Error;
use super::frame::Head;

/// The most that is read at once in its place: what has been made ready for it is still in the processor's cache then.
const AT_ONCE: usize = 256 * 1024;

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
        let len = self.bytes.len();
        let missing = head.size - len;
        (len.min(missing) >= much).then(|| Lent { bytes: std::mem::take(&mut self.bytes), len, missing })
    }

    pub(super) fn restore(&mut self, mut lent: Lent) {
        lent.bytes.truncate(lent.len);
        self.bytes = lent.bytes;
    }
}

/// The start of a large packet, lent by [`Deframer::lend`](super::Deframer::lend).
pub struct Lent {
    /// What arrived, and then what was made ready for more.
    bytes: Vec<u8>,
    /// So much arrived.
    len: usize,
    /// So much has yet to come.
    missing: usize,
}

impl Lent {
    /// Where to read the next bytes to: at most what is missing, and no more than twice what has arrived, whatever the
    /// packet announces.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.capacity() == self.len {
            self.bytes.truncate(self.len);
            self.bytes.reserve_exact(self.missing.min(self.len));
        }
        let end = self.bytes.capacity().min(self.len + self.missing.min(AT_ONCE));
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.len..end]
    }

    /// So many bytes came.
    pub fn arrived(&mut self, n: usize) {
        self.len += n;
        self.missing -= n;
    }
}
