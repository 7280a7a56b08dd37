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

    /// What has come of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what follows the packet.
    pub(super) fn split_off_rest(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.size.min(self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Deframer, Frame};

    /// The first `n` bytes of a PUBLISH of QoS 0 of 4 + 32,768 bytes (Miri takes minutes for more).
    fn start(n: usize) -> Vec<u8> {
        let mut bytes = b"\x30\x80\x80\x02\x00\x01t".to_vec();
        bytes.resize(n, b'x');
        bytes
    }

    const SIZE: usize = 4 + (32 << 10);

    /// A deframer that has got so much of it.
    fn started(n: usize, limit: Option<usize>) -> Deframer {
        let mut deframer = Deframer::new(limit);
        assert!(deframer.next(&mut &start(n)[..]).unwrap().is_none());
        deframer
    }

    #[test]
    fn a_packet_is_read_on_in_its_place_in_memory_that_grows_with_what_arrives() {
        let mut deframer = started(1000, None);
        let mut arrived = 1000;
        while arrived < SIZE {
            assert!(deframer.next(&mut &[][..]).unwrap().is_none());
            let mut packet = deframer.lend(1).expect("it is not whole");
            let room = packet.room();
            assert_eq!(room.len(), arrived);
            assert!(room.capacity() > arrived && room.capacity() <= 4 * arrived);
            arrived = room.capacity();
            room.resize(arrived, b'x');
            assert_eq!(deframer.restore(packet), b"");
        }
        let frame = deframer.next(&mut &[][..]).unwrap().expect("it is whole");
        assert_eq!((frame.body.len(), frame.size), (SIZE - 4, SIZE));
        let place = frame.body.as_ptr();
        let packet = deframer.take_gathered().expect("it came in parts");
        assert_eq!((packet.len(), packet.capacity()), (SIZE, SIZE));
        assert_eq!(packet[4..].as_ptr(), place, "nothing is copied");
        assert!(deframer.take_gathered().is_none() && !deframer.is_partial());
    }

    #[test]
    fn what_was_read_behind_a_packet_comes_back() {
        let mut deframer = started(SIZE - 1000, None);
        let mut packet = deframer.lend(1).expect("it is not whole");
        let room = packet.room();
        room.resize(SIZE, b'x');
        room.extend_from_slice(b"\xD0\x00");
        assert_eq!(packet.bytes().len(), SIZE + 2);
        let rest = deframer.restore(packet);
        assert_eq!(rest, b"\xD0\x00");
        let mut input = &rest[..];
        assert_eq!(deframer.next(&mut input).unwrap().map(|frame| frame.size), Some(SIZE));
        let ping = Frame { header: 0xD0, body: b"", size: 2, truncated: false };
        assert_eq!(deframer.next(&mut input), Ok(Some(ping)));
    }

    #[test]
    fn lent_is_what_has_come_and_will_come_in_much_and_is_kept_whole() {
        assert!(started(99, None).lend(100).is_none());
        assert!(started(100, None).lend(100).is_some());
        assert!(started(SIZE - 100, None).lend(100).is_some());
        assert!(started(SIZE - 99, None).lend(100).is_none());
        assert!(started(100, Some(SIZE)).lend(100).is_some());
        assert!(started(100, Some(SIZE - 1)).lend(100).is_none(), "the end of it is dropped");
        assert!(started(3, None).lend(0).is_none(), "its size is not known");
        assert!(Deframer::new(None).lend(0).is_none());
    }

    #[test]
    fn what_was_not_whole_cannot_be_taken() {
        let mut deframer = started(100, None);
        assert!(deframer.take_gathered().is_none());
        assert!(deframer.is_partial());
    }
}
