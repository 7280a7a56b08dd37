//! A load stand-in for a broker: it speaks just enough MQTT 3.1.1 never to be what limits a client.
//!
//! | packet | answer |
//! |---|---|
//! | CONNECT, PINGREQ, UNSUBSCRIBE | what belongs to it |
//! | SUBSCRIBE | SUBACK; for `blast/<count>/<size>/<qos>` then so many messages, as fast as the socket takes them |
//! | PUBLISH | its acknowledgements; one to `echo` comes back |
//! | PUBLISH to `late/<n>` at QoS 1 | PUBACK when `n` more have come: the window stays full, and moves |
//! | PUBLISH to `held/<n>` at QoS 1 | none for the first `n`: the window stays full of these |
//! | PUBLISH to another topic | before its own PUBACK all that were held back |
//!
//! One thread and one buffer to read into; payloads are passed over. `bench stub` prints its port, which is free on
//! 127.0.0.1, and ends with its standard input.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::wire;

/// Bytes read at once, and about as many sent at once.
const CHUNK: usize = 256 * 1024;
/// No more is read from a client that leaves so much unread.
const MAX_UNREAD: usize = 4 << 20;
/// Messages under way to a client.
const WINDOW: usize = 65535;

const INPUT: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// Serves until the standard input ends.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, io::stdin(), EventData::new_u64(INPUT), EventFlags::IN)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let (mut number, mut buffer) = (0, vec![0; CHUNK]);
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                INPUT => return Ok(()),
                LISTENER => {
                    while let Ok((socket, _)) = listener.accept() {
                        socket.set_nonblocking(true)?;
                        socket.set_nodelay(true)?;
                        epoll::add(&epoll, &socket, EventData::new_u64(number), EventFlags::IN)?;
                        connections.insert(number, Connection::new(socket));
                        number += 1;
                    }
                }
                key => {
                    let Some(connection) = connections.get_mut(&key) else { continue };
                    let flags = event.flags;
                    let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
                    if readable && connection.read(&mut buffer).is_err()
                        || connection.write().is_err()
                        || connection.leaving
                    {
                        connections.remove(&key);
                        continue;
                    }
                    let wanted = connection.wanted();
                    if wanted != connection.watched {
                        connection.watched = wanted;
                        epoll::modify(&epoll, &connection.socket, EventData::new_u64(key), wanted)?;
                    }
                }
            }
        }
    }
}

struct Connection {
    socket: TcpStream,
    watched: EventFlags,
    /// The beginning of a packet that has come in part.
    rest: Vec<u8>,
    /// What is still to come of a payload.
    skip: usize,
    /// Answers, and how much of them is sent.
    out: Vec<u8>,
    sent: usize,
    blast: Option<Blast>,
    /// Acknowledgements that are due later.
    late: VecDeque<[u8; 2]>,
    leaving: bool,
}

impl Connection {
    fn new(socket: TcpStream) -> Connection {
        Connection {
            socket,
            watched: EventFlags::IN,
            rest: Vec::new(),
            skip: 0,
            out: Vec::new(),
            sent: 0,
            blast: None,
            late: VecDeque::new(),
            leaving: false,
        }
    }

    /// Reads once and answers all that has come.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let n = match self.socket.read(&mut buffer[kept..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = &buffer[..kept + n];
        loop {
            let skipped = self.skip.min(input.len());
            self.skip -= skipped;
            input = &input[skipped..];
            match self.packet(input)? {
                Some(size) => input = &input[size..],
                None => break,
            }
        }
        self.rest.clear();
        self.rest.extend_from_slice(input);
        Ok(())
    }

    /// Answers the packet at the front; how much of the input it takes, payloads excepted. None: more has to come.
    #[inline]
    fn packet(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        let Some((header, remaining)) = header(input)? else { return Ok(None) };
        let whole = input.get(header..header + remaining);
        if input[0] >> 4 == 3 {
            let Some(size) = self.publish(input[0], &input[header..], whole) else { return Ok(None) };
            self.skip = remaining - size;
            return Ok(Some(header + size));
        }
        let Some(body) = whole else { return Ok(None) };
        match input[0] >> 4 {
            1 => self.out.extend_from_slice(&[0x20, 2, 0, 0]),
            4 | 7 => {
                if let Some(blast) = &mut self.blast {
                    blast.under_way -= 1;
                }
            }
            5 => self.out.extend_from_slice(&[0x62, 2, body[0], body[1]]),
            6 => self.out.extend_from_slice(&[0x70, 2, body[0], body[1]]),
            8 => self.subscribe(body),
            10 => self.out.extend_from_slice(&[0xb0, 2, body[0], body[1]]),
            12 => self.out.extend_from_slice(&[0xd0, 0]),
            14 => self.leaving = true,
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        Ok(Some(header + remaining))
    }

    /// How much of the body stands before the payload. None: not all of that has come.
    #[inline]
    fn publish(&mut self, first: u8, body: &[u8], whole: Option<&[u8]>) -> Option<usize> {
        let qos = first >> 1 & 3;
        let topic_end = 2 + usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
        let end = topic_end + if qos > 0 { 2 } else { 0 };
        let topic = body.get(..end)?.get(2..topic_end)?;
        let id = [body[end - 2], body[end - 1]];
        match qos {
            1 => match held_back(topic) {
                Some((_, many)) if self.late.len() < many => self.late.push_back(id),
                Some((true, _)) => {
                    self.late.push_back(id);
                    self.out.extend_from_slice(&puback(self.late.pop_front()?));
                }
                Some(_) => self.out.extend_from_slice(&puback(id)),
                None => {
                    self.late.drain(..).chain([id]).for_each(|id| self.out.extend_from_slice(&puback(id)))
                }
            },
            2 => self.out.extend_from_slice(&[0x50, 2, id[0], id[1]]),
            _ if topic == wire::ECHO.as_bytes() => {
                let payload = &whole?[end..];
                self.out.extend_from_slice(&wire::publish(wire::ECHO, 0, payload.len()));
            }
            _ => {}
        }
        Some(end)
    }

    fn subscribe(&mut self, body: &[u8]) {
        let (id, mut filters) = body.split_at(2);
        let mut codes = Vec::new();
        while let &[high, low, ref rest @ ..] = filters {
            let (filter, rest) = rest.split_at(u16::from_be_bytes([high, low]).into());
            codes.push(rest[0]);
            filters = &rest[1..];
            self.blast = Blast::of(filter).or(self.blast.take());
        }
        assert!(codes.len() < 126, "one byte of length");
        self.out.extend_from_slice(&[0x90, 2 + codes.len() as u8, id[0], id[1]]);
        self.out.extend_from_slice(&codes);
    }

    /// Writes until everything is out or the socket full.
    fn write(&mut self) -> io::Result<()> {
        let outcome = self.try_write();
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            _ => outcome,
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        loop {
            // answers first, but not inside of a message
            if self.blast.as_ref().is_none_or(|blast| blast.unsent.is_empty()) {
                while self.sent < self.out.len() {
                    self.sent += self.socket.write(&self.out[self.sent..])?;
                }
                self.out.clear();
                self.sent = 0;
            }
            let Some(blast) = &mut self.blast else { return Ok(()) };
            if blast.unsent.is_empty() && !blast.refill() {
                return Ok(());
            }
            while !blast.unsent.is_empty() {
                blast.unsent.start += self.socket.write(&blast.packets[blast.unsent.clone()])?;
            }
            if blast.qos > 0 {
                return Ok(()); // to see what has been acknowledged
            }
        }
    }

    fn wanted(&self) -> EventFlags {
        let unread = self.out.len() - self.sent;
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, unread < MAX_UNREAD);
        wanted.set(EventFlags::OUT, unread > 0 || self.blast.as_ref().is_some_and(Blast::can_send));
        wanted
    }
}

fn puback([high, low]: [u8; 2]) -> [u8; 4] {
    [0x40, 2, high, low]
}

/// Whether acknowledgements of a topic come late, or are held, and how many.
#[inline]
fn held_back(topic: &[u8]) -> Option<(bool, usize)> {
    let late = topic.strip_prefix(b"late/").map(|many| (true, many));
    let (is_late, many) = late.or_else(|| topic.strip_prefix(b"held/").map(|many| (false, many)))?;
    Some((is_late, std::str::from_utf8(many).ok()?.parse().ok()?))
}

/// The size of the fixed header and the length that it tells, if it has come.
#[inline]
fn header(input: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (n, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + n, length)));
        }
    }
    if input.len() < 5 { Ok(None) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Messages to a subscriber.
struct Blast {
    left: usize,
    qos: u8,
    under_way: usize,
    next_id: u16,
    /// The same message many times, and what of them is to be sent.
    packets: Vec<u8>,
    unsent: std::ops::Range<usize>,
    /// A message's size, and where its id stands.
    size: usize,
    id_at: usize,
}

impl Blast {
    fn of(filter: &[u8]) -> Option<Blast> {
        let topic = std::str::from_utf8(filter).ok()?;
        let mut parts = topic.strip_prefix("blast/")?.split('/');
        let left = parts.next()?.parse().ok()?;
        let payload: usize = parts.next()?.parse().ok()?;
        let qos = parts.next()?.parse().ok()?;
        let packet = wire::publish(topic, qos, payload);
        let size = packet.len();
        let packets = packet.repeat((CHUNK / size).max(1));
        // where it has none, this place is not looked at
        let id_at = size - payload - 2;
        Some(Blast { left, qos, under_way: 0, next_id: 1, packets, unsent: 0..0, size, id_at })
    }

    fn can_send(&self) -> bool {
        !self.unsent.is_empty() || self.left > 0 && (self.qos == 0 || self.under_way < WINDOW)
    }

    /// The next messages; false: none, or none yet.
    fn refill(&mut self) -> bool {
        let mut many = self.left.min(self.packets.len() / self.size);
        if self.qos > 0 {
            many = many.min(WINDOW - self.under_way);
            self.under_way += many;
            for packet in self.packets.chunks_exact_mut(self.size).take(many) {
                wire::put_id(packet, self.id_at, self.next_id);
                self.next_id = wire::next_id(self.next_id);
            }
        }
        self.left -= many;
        self.unsent = 0..many * self.size;
        many > 0
    }
}
