//! What bare blocking sockets reach: packets encoded beforehand, 64 KiB at a time, no client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustix::net::{RecvFlags, recv};

use super::{Latencies, Task, Watch, report_memory, resident};
use crate::wire::{self, ECHO, TOPIC};

const BATCH: usize = 64 * 1024;
/// Messages under way; more would leave the cache.
const WINDOW: usize = 16384;
const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Does one task and prints its line.
pub fn run(task: &Task) -> io::Result<()> {
    match task.job.as_str() {
        "publish0" => at_most_once(task),
        "publish1" | "publish2" => {
            let mut socket = connect(task.port, 0)?;
            let watch = Watch::start();
            acknowledged(&mut socket, TOPIC, task.qos(), task.count, task.size)?;
            watch.report("");
            socket.write_all(&DISCONNECT)
        }
        // what a real broker sends on to a peer; at QoS 1, so that it can take its time
        "feed0" | "feed1" => {
            let topic = wire::blast_topic(task.count, task.size, task.qos());
            let mut socket = connect(task.port, 0)?;
            acknowledged(&mut socket, &topic, 1, task.count, task.size)?;
            socket.write_all(&DISCONNECT)
        }
        "receive0" | "receive1" => receive(task),
        "echo" => echo(task),
        "connect" => {
            let watch = Watch::start();
            for n in 0..task.count {
                connect(task.port, n)?.write_all(&DISCONNECT)?;
            }
            watch.report("");
            Ok(())
        }
        "idle" => {
            let first = connect(task.port, task.count)?;
            let (before, watch) = (resident(), Watch::start());
            let sockets: Vec<_> = (0..task.count).map(|n| connect(task.port, n)).collect::<Result<_, _>>()?;
            watch.report(&report_memory(before, task.count));
            drop((first, sockets));
            Ok(())
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn connect(port: u16, n: usize) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.write_all(&wire::connect(&format!("limit{}-{n}", std::process::id())))?;
    let mut connack = [0; 4];
    socket.read_exact(&mut connack)?;
    assert_eq!(connack, [0x20, 2, 0, 0]);
    Ok(socket)
}

fn subscribe(socket: &mut TcpStream, topic: &str, qos: u8) -> io::Result<()> {
    socket.write_all(&wire::subscribe(topic, qos))?;
    let mut suback = [0; 5];
    socket.read_exact(&mut suback)?;
    assert_eq!(suback[0], 0x90);
    println!("subscribed");
    Ok(())
}

/// The last message is one of QoS 1: its PUBACK tells that all have arrived.
fn at_most_once(task: &Task) -> io::Result<()> {
    let mut socket = connect(task.port, 0)?;
    let packet = wire::publish(TOPIC, 0, task.size);
    let packets = packet.repeat((BATCH / packet.len()).max(1));
    let watch = Watch::start();
    let mut left = (task.count - 1) * packet.len();
    while left > 0 {
        let n = left.min(packets.len());
        for piece in packets[..n].chunks(BATCH) {
            socket.write_all(piece)?;
        }
        left -= n;
    }
    socket.write_all(&wire::publish(TOPIC, 1, task.size))?;
    let mut puback = [0; 4];
    socket.read_exact(&mut puback)?;
    assert_eq!(puback[0], 0x40);
    watch.report("");
    socket.write_all(&DISCONNECT)
}

fn acknowledged(socket: &mut TcpStream, topic: &str, qos: u8, count: usize, size: usize) -> io::Result<()> {
    let packet = wire::publish(topic, qos, size);
    let (length, id_at) = (packet.len(), packet.len() - size - 2);
    let batch = (BATCH / length).max(1);
    let mut packets = packet.repeat(batch);
    let (mut sent, mut done, mut id) = (0, 0, 1);
    let (mut input, mut have) = (vec![0; BATCH], 0);
    let mut releases = Vec::with_capacity(BATCH);
    while done < count {
        let many = batch.min(count - sent).min(WINDOW - (sent - done));
        if many == batch || many > 0 && sent + many == count {
            for packet in packets.chunks_exact_mut(length).take(many) {
                wire::put_id(packet, id_at, id);
                id = wire::next_id(id);
            }
            socket.write_all(&packets[..many * length])?;
            sent += many;
            have += recv(&*socket, &mut input[have..], RecvFlags::DONTWAIT).map_or(0, |(n, _)| n);
        } else {
            have += read_some(socket, &mut input[have..])?;
        }
        let whole = have - have % 4;
        releases.clear();
        for answer in input[..whole].chunks_exact(4) {
            match answer[0] {
                0x50 => releases.extend_from_slice(&[0x62, 2, answer[2], answer[3]]),
                _ => done += 1,
            }
        }
        socket.write_all(&releases)?;
        input.copy_within(whole..have, 0);
        have -= whole;
    }
    Ok(())
}

fn receive(task: &Task) -> io::Result<()> {
    let qos = task.qos();
    let mut socket = connect(task.port, 0)?;
    let topic = wire::blast_topic(task.count, task.size, qos);
    let length = wire::publish(&topic, qos, task.size).len();
    let id_at = length - task.size - 2;
    subscribe(&mut socket, &topic, qos)?;
    let (mut input, mut have, mut left) = (vec![0; BATCH], 0, task.count * length);
    let mut acknowledgements = Vec::with_capacity(BATCH);
    let mut watch = None;
    while left > 0 {
        let n = read_some(&mut socket, &mut input[have..])?;
        watch.get_or_insert_with(Watch::start);
        left -= n;
        if qos == 0 {
            continue;
        }
        have += n; // whole messages are far smaller than a batch
        acknowledgements.clear();
        let whole = have - have % length;
        for packet in input[..whole].chunks_exact(length) {
            acknowledgements.extend_from_slice(&[0x40, 2, packet[id_at], packet[id_at + 1]]);
        }
        socket.write_all(&acknowledgements)?;
        input.copy_within(whole..have, 0);
        have -= whole;
    }
    watch.expect("there were messages").report("");
    socket.write_all(&DISCONNECT)
}

fn echo(task: &Task) -> io::Result<()> {
    let mut socket = connect(task.port, 0)?;
    socket.set_nodelay(true)?;
    subscribe(&mut socket, ECHO, 0)?;
    let packet = wire::publish(ECHO, 0, task.size);
    let mut answer = vec![0; packet.len()];
    let mut latencies = Latencies::default();
    let watch = Watch::start();
    for _ in 0..task.count + Latencies::WARM_UP {
        let start = Instant::now();
        socket.write_all(&packet)?;
        socket.read_exact(&mut answer)?;
        latencies.add(start);
    }
    watch.report(&latencies.report());
    socket.write_all(&DISCONNECT)
}

fn read_some(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match socket.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}
