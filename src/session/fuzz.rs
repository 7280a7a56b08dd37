//! The entry for fuzzing a session: bytes from the network between calls of the application, writes, and time.

use std::time::{Duration, Instant};

use super::{Config, Error, Event, Keep, Limits, Resubscribe, Session, Token};
use crate::codec::{Connect, Deframer, Packet, Qos, Version, v4};

/// Lets `data` say what happens to a session, one or two bytes for each step. Nothing panics; what is sent on a connection
/// is CONNECT and then well-formed packets, the last of them DISCONNECT; every call that was accepted ends exactly once;
/// at the end nothing is left. `now` is the start of time.
pub fn fuzz(now: Instant, data: &[u8]) {
    let mut script = Script { data };
    let mut run = Run::new(now, &mut script);
    while !script.data.is_empty() {
        run.step(&mut script);
    }
    run.finish();
}

/// The rest of the fuzzer's bytes; zeros after its end.
struct Script<'a> {
    data: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.data.split_off_first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, n: usize) -> &'a [u8] {
        self.data.split_off(..n.min(self.data.len())).expect("no more than there is")
    }
}

struct Run {
    session: Session,
    now: Instant,
    clean_session: bool,
    /// What the system took on this connection, cut into packets.
    wire: Deframer,
    connect_seen: bool,
    disconnect_seen: bool,
    /// Taken from the session and not written yet.
    lent: Vec<u8>,
    /// By token less one: how often the call has ended.
    ends: Vec<u8>,
    /// The largest `max_queue` so far.
    room: usize,
}

impl Run {
    /// The first byte are the options, and the second where the first says so.
    fn new(now: Instant, script: &mut Script<'_>) -> Run {
        let options = script.byte();
        let more = if options & 128 == 0 { 0 } else { script.byte() };
        let limits = Limits {
            max_queue: if options & 1 == 0 { 600 } else { 1 << 20 },
            inflight: 1 + u16::from(options >> 1 & 3),
            max_packet: Some(40).filter(|_| options & 8 == 0),
            max_qos: Qos::new(2 - (more >> 1 & 3).min(2)).expect("0 to 2"),
            max_waiting: Some(u32::from(more >> 3 & 3)).filter(|_| more & 32 != 0),
        };
        let resubscribe = match options & 16 {
            _ if more & 1 != 0 => Resubscribe::Always,
            0 => Resubscribe::Never,
            _ => Resubscribe::NewSession,
        };
        let config = Config { limits, resubscribe, keep_messages: options & 64 != 0 };
        let mut run = Run {
            session: Session::new(config),
            now,
            clean_session: options & 32 != 0,
            wire: Deframer::from_client(None),
            connect_seen: false,
            disconnect_seen: false,
            lent: Vec::new(),
            ends: Vec::new(),
            room: limits.max_queue,
        };
        run.connect();
        run
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte();
        let outcome = match step % 16 {
            0 | 1 => {
                let n = usize::from(script.byte() % 64);
                self.arrive(step >> 4, script.bytes(n))
            }
            2..=5 => {
                // mostly a packet that a broker may send
                const FIRST: [u8; 16] = [
                    0x20, 0x30, 0x32, 0x34, 0x3A, 0x3C, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0x31, 0x20,
                    0x90,
                ];
                let first = FIRST[usize::from(step >> 4)];
                let body: &[u8] = match first {
                    0x20 => &[script.byte() & 1, script.byte() % 8 / 6],
                    0xD0 => &[],
                    0x90 => &[0, script.byte() % 8, script.byte() % 3],
                    0x30 | 0x31 => &[0, 1, b't', script.byte()],
                    0x32..0x40 => &[0, 1, b't', 0, script.byte() % 8, b'm'],
                    _ => &[0, script.byte() % 8],
                };
                let mut packet = vec![first, body.len() as u8];
                packet.extend_from_slice(body);
                self.arrive(step, &packet)
            }
            6 | 7 => {
                let qos = Qos::new(step >> 4 & 3).unwrap_or(Qos::AtLeastOnce);
                let payload = vec![b'p'; usize::from(script.byte())];
                let token = self.token();
                let accepted = match step & 64 {
                    0 => self.session.publish("t", &payload, qos, false, token).is_ok(),
                    _ => self.session.publish_with_id("t", &payload, qos, false, token).is_ok(),
                };
                self.note(accepted);
                Ok(())
            }
            8 => {
                let filters = [("a", Qos::AtMostOnce), ("b/+", Qos::ExactlyOnce)];
                let token = self.token();
                let count = 1 + usize::from(step >> 4 & 1);
                let accepted = self.session.subscribe(&filters[..count], token).is_ok();
                self.note(accepted);
                Ok(())
            }
            9 => {
                let token = self.token();
                let accepted = self.session.unsubscribe(&["a"], token).is_ok();
                self.note(accepted);
                Ok(())
            }
            10 => {
                self.write(usize::from(script.byte()));
                Ok(())
            }
            11 => {
                if !self.session.is_transmitting() {
                    self.session.take_transmit(&mut self.lent);
                }
                Ok(())
            }
            12 => {
                self.now += Duration::from_millis(100 * u64::from(script.byte()));
                self.time_passed()
            }
            13 => self.change(step >> 4),
            14 => {
                self.session.disconnect();
                Ok(())
            }
            _ => {
                self.reconnect(if step & 16 == 0 { Keep::Session } else { Keep::Nothing });
                Ok(())
            }
        };
        if outcome.is_err() {
            self.reconnect(Keep::Session);
        }
        self.hear();
        assert!(self.session.ids_in_use() <= usize::from(u16::MAX));
        assert!(self.session.pending().1 as usize <= self.room, "what waits is bounded");
    }

    /// Bytes come: `how` says where they are read to.
    fn arrive(&mut self, how: u8, mut bytes: &[u8]) -> Result<(), Error> {
        if how & 1 != 0
            && let Some(mut packet) = self.session.lend_packet(1)
        {
            let room = packet.room();
            let n = bytes.len().min(room.capacity() - room.len());
            room.extend_from_slice(bytes.split_off(..n).expect("no more than there is"));
            self.session.handle_packet(self.now, packet, n)?;
        }
        if how & 2 == 0 {
            return self.session.handle_input(self.now, bytes);
        }
        let mut buffer = bytes.to_vec();
        self.session.handle_buffer(self.now, &mut buffer, bytes.len())
    }

    /// What an application or a driver changes besides.
    fn change(&mut self, what: u8) -> Result<(), Error> {
        match what {
            0 | 4 => self.session.drop_unsent_messages(),
            1 | 2 => self.session.set_reading(self.now, what == 2),
            3 | 11 => self.session.set_offline_queue(what == 11),
            5..=7 => self.session.set_broker(u32::from(what - 5)),
            8 | 9 => {
                let (max_queue, max_packet) = if what == 8 { (400, 40) } else { (800, 80) };
                self.room = self.room.max(max_queue);
                let limits = self.session.limits();
                self.session.set_limits(Limits { max_queue, max_packet: Some(max_packet), ..limits });
            }
            10 => self.session.set_tick(self.now, None),
            12 => self.session.set_tick(self.now, Some(Duration::from_secs(1))),
            13 => {
                self.close(Keep::Session);
                self.session.forget();
                self.connect();
            }
            14 => {
                self.now = self.session.poll_timeout().map_or(self.now, |due| due.max(self.now));
                return self.time_passed();
            }
            _ => _ = self.session.next_id(),
        }
        Ok(())
    }

    fn time_passed(&mut self) -> Result<(), Error> {
        self.session.handle_timeout(self.now)?;
        assert!(self.session.poll_timeout().is_none_or(|due| due > self.now), "what was due is done");
        Ok(())
    }

    /// The system takes `n` bytes more, if there are so many.
    fn write(&mut self, n: usize) {
        let written = if self.session.is_transmitting() {
            let n = n.min(self.lent.len());
            self.lent.drain(..n).collect::<Vec<u8>>()
        } else {
            let waiting = self.session.transmit();
            waiting[..n.min(waiting.len())].to_vec()
        };
        self.session.handle_transmitted(self.now, written.len());
        let mut input = &written[..];
        while let Some(frame) = self.wire.next(&mut input).expect("we send what a client may send") {
            let packet = v4::decode(&frame).expect("we send what is well-formed");
            assert!(!self.disconnect_seen, "nothing follows DISCONNECT [MQTT-3.14.4-2]");
            assert_eq!(
                matches!(packet, Packet::Connect(_)),
                !self.connect_seen,
                "CONNECT is first, and only first [MQTT-3.1.0-1]"
            );
            self.connect_seen = true;
            self.disconnect_seen = packet == Packet::Disconnect;
        }
    }

    fn connect(&mut self) {
        let connect = Connect {
            version: Version::V311,
            clean_session: self.clean_session,
            keep_alive: 5,
            client_id: "fuzz",
            will: None,
            username: None,
            password: None,
        };
        self.session.connect(&connect, self.now.checked_add(Duration::from_secs(10)));
    }

    fn close(&mut self, keep: Keep) {
        self.session.handle_begun(self.lent.len() / 2);
        self.session.handle_closed(keep);
        self.wire.reset();
        self.lent.clear();
        (self.connect_seen, self.disconnect_seen) = (false, false);
    }

    fn reconnect(&mut self, keep: Keep) {
        self.close(keep);
        self.connect();
    }

    /// Of the call that comes next.
    fn token(&self) -> Token {
        Token(self.ends.len() as u32 + 1)
    }

    fn note(&mut self, accepted: bool) {
        if accepted {
            self.ends.push(0);
        }
    }

    /// Takes what happened.
    fn hear(&mut self) {
        while let Some(event) = self.session.events().pop() {
            match event {
                Event::Published { token, .. }
                | Event::Subscribed { token, .. }
                | Event::Unsubscribed { token, .. }
                | Event::Dropped { token }
                    if token.is_some() =>
                {
                    self.ends[token.0 as usize - 1] += 1;
                }
                Event::Message { topic, .. } | Event::Overflow { topic, .. } => {
                    assert!(std::str::from_utf8(topic).is_ok_and(|topic| !topic.is_empty()));
                }
                _ => {}
            }
        }
    }

    fn finish(mut self) {
        self.close(Keep::Nothing);
        self.session.forget();
        self.hear();
        assert!(self.ends.iter().all(|ends| *ends == 1), "each call ends once: {:?}", self.ends);
        assert_eq!(self.session.pending(), (0, 0));
        assert_eq!(self.session.ids_in_use(), 0);
        assert_eq!(self.session.unsent(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_scripts_find_nothing() {
        let start = Instant::now();
        let runs = if cfg!(miri) { 20 } else { 20_000 };
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..runs {
            let data: Vec<u8> = (0..200)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            // accepted at once, so that most of it happens on a connection
            let options = if data[0] & 128 == 0 { &data[..1] } else { &data[..2] };
            fuzz(start, &[options, &[2, 0, 0], &data[2..]].concat());
        }
    }
}
