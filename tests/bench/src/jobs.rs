//! What is measured.

use crate::server::Broker;

/// A line of the results: the same work for all peers.
pub struct Job {
    pub name: &'static str,
    pub about: &'static str,
    /// What the peers are told to do; the digit at the end is the QoS.
    pub task: &'static str,
    /// Bytes of a payload.
    pub size: usize,
    pub broker: Broker,
    /// The cores that client and broker are kept on, where that matters.
    pub cores: Option<[usize; 2]>,
    /// What is idle meanwhile, and what the same without that is. Only our own module does these.
    pub beside: Option<[&'static str; 2]>,
    pub shows: Shows,
}

/// What a job is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Messages, or connections, per second.
    Rate,
    /// The time of a round trip.
    Latency,
    /// Resident memory.
    Memory,
    /// System calls per message.
    Calls,
    /// What `bench codec` prints.
    Codec,
}

const fn rate(name: &'static str, about: &'static str, task: &'static str, size: usize) -> Job {
    Job { name, about, task, size, broker: Broker::Stub, cores: None, beside: None, shows: Shows::Rate }
}

const fn mosquitto(name: &'static str, about: &'static str, task: &'static str) -> Job {
    Job { broker: Broker::Mosquitto, ..rate(name, about, task, 64) }
}

const fn echo(name: &'static str, about: &'static str, cores: [usize; 2]) -> Job {
    Job { cores: Some(cores), shows: Shows::Latency, ..rate(name, about, "echo", 64) }
}

const fn calls(name: &'static str, about: &'static str, task: &'static str) -> Job {
    Job { shows: Shows::Calls, ..rate(name, about, task, 64) }
}

const fn beside(name: &'static str, about: &'static str, task: &'static str, idle: [&'static str; 2]) -> Job {
    Job { beside: Some(idle), ..rate(name, about, task, 64) }
}

const SUBSCRIPTIONS: [&str; 2] = ["subscriptions=10000", "subscriptions=1"];
const CLIENTS: [&str; 2] = ["clients=1000", "clients=0"];
const LATE: [&str; 2] = ["late=65000", "late=100"];
const HELD: [&str; 2] = ["held=65000", "held=100"];
const BIG: usize = 16 << 20;

#[rustfmt::skip]
pub const JOBS: &[Job] = &[
    rate("publish-qos0", "publish, QoS 0, 64 B, to the PUBACK of a last one", "publish0", 64),
    rate("publish-qos1", "publish, QoS 1, 64 B, to the last PUBACK", "publish1", 64),
    rate("publish-qos2", "publish, QoS 2, 64 B, to the last PUBCOMP", "publish2", 64),
    rate("publish-1k", "publish, QoS 0, 1 KiB", "publish0", 1024),
    rate("publish-16m", "publish, QoS 0, 16 MiB", "publish0", BIG),
    rate("receive-qos0", "receive, QoS 0, 64 B", "receive0", 64),
    rate("receive-qos1", "receive, QoS 1, 64 B", "receive1", 64),
    rate("receive-1k", "receive, QoS 0, 1 KiB", "receive0", 1024),
    rate("receive-16m", "receive, QoS 0, 16 MiB", "receive0", BIG),
    echo("echo-one-core", "one message there and back, client and stand-in on one core", [0, 0]),
    echo("echo-two-cores", "one message there and back, on two cores", [0, 1]),
    rate("connect", "connect and disconnect", "connect", 0),
    Job { shows: Shows::Memory, ..rate("idle", "resident memory of an idle connection", "idle", 0) },
    calls("calls-publish-qos0", "system calls, publish, QoS 0, 64 B", "publish0"),
    calls("calls-publish-qos1", "system calls, publish, QoS 1, 64 B", "publish1"),
    calls("calls-receive-qos0", "system calls, receive, QoS 0, 64 B", "receive0"),
    calls("calls-receive-qos1", "system calls, receive, QoS 1, 64 B", "receive1"),
    mosquitto("mosquitto-publish-qos0", "publish, QoS 0, 64 B, mosquitto", "publish0"),
    mosquitto("mosquitto-publish-qos1", "publish, QoS 1, 64 B, mosquitto", "publish1"),
    mosquitto("mosquitto-receive-qos0", "receive, QoS 0, 64 B, mosquitto", "receive0"),
    mosquitto("mosquitto-receive-qos1", "receive, QoS 1, 64 B, mosquitto", "receive1"),
    beside("beside-subscriptions-publish", "publish, QoS 0, 64 B, 10,000 idle subscriptions", "publish0", SUBSCRIPTIONS),
    beside("beside-subscriptions-receive", "receive, QoS 0, 64 B, 10,000 idle subscriptions", "receive0", SUBSCRIPTIONS),
    beside("beside-clients-publish", "publish, QoS 1, 64 B, 1,000 idle clients", "publish1", CLIENTS),
    beside("beside-clients-receive", "receive, QoS 0, 64 B, 1,000 idle clients", "receive0", CLIENTS),
    Job { shows: Shows::Latency, ..beside("beside-clients-echo", "one message there and back, 1,000 idle clients", "echo", CLIENTS) },
    beside("beside-clients-connect", "connect and disconnect, 1,000 idle clients", "connect", CLIENTS),
    beside("beside-late-publish", "publish, QoS 1, 64 B, each PUBACK 65,000 messages late, against 100", "publish1", LATE),
    beside("beside-held-publish", "publish, QoS 1, 64 B, 65,000 others without PUBACK, against 100", "publish1", HELD),
    Job { shows: Shows::Codec, ..rate("codec", "encode and decode a PUBLISH of 64 B", "", 64) },
];

/// Prints the names.
pub fn list() {
    for job in JOBS {
        println!("{:30} {}", job.name, job.about);
    }
}
