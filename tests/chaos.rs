//! Numbered messages through a proxy that cuts, resets, stalls and half-delivers, and through restarts of the broker:
//! nothing is lost at QoS 1, everything comes exactly once at QoS 2, and in order.
//!
//! The broker is mosquitto, and the embedded one. Version 2.0 of mosquitto forgets in a restart that it had sent PUBREL, and
//! publishes again, which a receiver cannot tell from a new message: the proxy counts what a broker repeats so.
//!
//! The short version runs with all tests. The long one, 3,000 messages through 200 cuts on either side at each QoS:
//!
//! ```sh
//! MQTT_CHAOS=long cargo test --release --test chaos -- --nocapture
//! ```
//!
//! `MQTT_CHAOS_SEED` chooses other places to cut.

#[path = "support/mosquitto.rs"]
mod mosquitto;
#[path = "support/proxy.rs"]
mod proxy;
#[allow(dead_code, unreachable_pub)]
#[path = "session/support/random.rs"]
mod random;

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, thread};

use mosquitto::Mosquitto;
use mqtt::broker::{Broker, BrokerOptions};
use mqtt::client::{
    Client, ClientOptions, ConnectOptions, Options, Policy, Profile, Sending, Server, Sink, State,
};
use mqtt::codec::Qos;
use mqtt::session::{Config, Event, Events, Token};
use proxy::Proxy;
use random::Random;

/// How long a run is.
struct Scale {
    messages: usize,
    /// On either side, at least.
    cuts: usize,
    restarts: usize,
    limit: Duration,
}

impl Scale {
    fn chosen() -> Scale {
        match env::var("MQTT_CHAOS").as_deref() {
            Ok("long") => Scale { messages: 3000, cuts: 200, restarts: 5, limit: Duration::from_secs(900) },
            _ => Scale { messages: 600, cuts: 30, restarts: 1, limit: Duration::from_secs(120) },
        }
    }
}

#[test]
fn qos_1_loses_nothing_and_keeps_the_order() {
    let scale = Scale::chosen();
    let broker = mosquitto();
    let (got, _) = run("qos 1", Qos::AtLeastOnce, &scale, broker.port(), broker);
    // A repetition may come again; what is new comes in order [MQTT-4.6.0-1].
    let mut next = 0;
    for number in got {
        assert!(number <= next, "{number} came, {next} was to come next");
        next = next.max(number + 1);
    }
    assert_eq!(next, scale.messages);
}

#[test]
fn qos_2_delivers_exactly_once_and_in_order() {
    let scale = Scale::chosen();
    let broker = mosquitto();
    let (got, repeated) = run("qos 2", Qos::ExactlyOnce, &scale, broker.port(), broker);
    exactly_once(got, &repeated, &scale);
}

#[test]
fn qos_2_delivers_exactly_once_through_many_restarts() {
    let scale = Scale { restarts: 5 * Scale::chosen().restarts, ..Scale::chosen() };
    let broker = Broker::start(BrokerOptions::default()).expect("127.0.0.1 has free ports");
    let (got, repeated) = run("qos 2, embedded broker", Qos::ExactlyOnce, &scale, broker.port(), broker);
    assert!(repeated.is_empty(), "this broker remembers: {repeated:?}");
    exactly_once(got, &repeated, &scale);
}

/// One that forgets nothing at an orderly end. Its limits on queues are off: with them version 2.0 drops messages, or stops
/// sending at QoS 2 once its window has been full.
fn mosquitto() -> Mosquitto {
    let settings = "persistence true\nmax_inflight_messages 0\nmax_queued_messages 0";
    Mosquitto::start(settings, &[String::new()])
}

/// Each number once and in order, but for those that the broker has published `repeated`ly.
fn exactly_once(mut got: Vec<usize>, repeated: &[usize], scale: &Scale) {
    for number in repeated {
        let places = got.iter().enumerate().filter(|(_, came)| *came == number).map(|(place, _)| place);
        if let Some(again) = places.skip(1).last() {
            got.remove(again);
        }
    }
    let wrong = got.iter().enumerate().find(|(at, number)| at != *number);
    assert_eq!(wrong, None, "place and number of the first that is wrong");
    assert_eq!(got.len(), scale.messages);
}

/// An orderly end and a new start, with all sessions kept.
trait Restart {
    fn restart(&mut self);
}

impl Restart for Mosquitto {
    fn restart(&mut self) {
        self.restart();
    }
}

impl Restart for Broker {
    fn restart(&mut self) {
        self.stop();
        Broker::restart(self).expect("its port is still free");
    }
}

/// That of a message.
fn number(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).expect("we sent text");
    text.trim_end_matches('.').parse().expect("a number")
}

/// Nobody is told: this test looks by itself.
struct Deaf;

impl Sink for Deaf {
    fn ready(&self, _: u32) {}
}

/// One side of the conversation.
struct Side {
    client: Client,
    events: Events,
    /// The numbers that arrived.
    got: Vec<usize>,
    /// How often each publish was reported to be done.
    done: Vec<u32>,
    sessions_lost: usize,
    connects: usize,
}

impl Side {
    fn connect(id: &str, port: u16, messages: usize) -> Side {
        let client = Client::new(Config::default(), ClientOptions::default(), Arc::new(Deaf));
        let connect = ConnectOptions { client_id: id.into(), keep_alive: 10, ..ConnectOptions::default() };
        let profile = Profile::new(Server { host: "127.0.0.1".into(), port }, connect);
        let policy = Policy { max: Duration::from_secs(1), ..Policy::default() };
        client.connect(Options { reconnect: Some(policy), ..Options::new(profile) });
        let mut side = Side {
            client,
            events: Events::new(),
            got: Vec::new(),
            done: vec![0; messages],
            sessions_lost: 0,
            connects: 0,
        };
        wait("accepted", || {
            side.take();
            side.is_connected()
        });
        side
    }

    fn is_connected(&self) -> bool {
        self.client.state() == State::Connected
    }

    fn take(&mut self) {
        self.client.swap_events(&mut self.events, false);
        while let Some(event) = self.events.pop() {
            match event {
                Event::Message { payload, .. } => {
                    self.got.push(number(payload));
                }
                Event::Published { token, .. } => self.done[token.0 as usize - 1] += 1,
                Event::Connected { session_present } => {
                    self.connects += 1;
                    self.sessions_lost += usize::from(self.connects > 1 && !session_present);
                }
                Event::ConnectFailed { detail, .. } => panic!("{detail}"),
                Event::Dropped { .. } => panic!("a publish was given up"),
                _ => {}
            }
        }
    }
}

/// Passes numbered messages; what arrived, and what the broker repeated though it was done.
fn run(name: &str, qos: Qos, scale: &Scale, port: u16, mut broker: impl Restart) -> (Vec<usize>, Vec<usize>) {
    let seed = env::var("MQTT_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
    // About as many bytes as a few messages with all their packets.
    let proxies = [2 * seed, 2 * seed + 1].map(|seed| Proxy::start(port, seed, 3000, 400));
    let mut to = Side::connect("to", proxies[0].port(), scale.messages);
    let mut from = Side::connect("from", proxies[1].port(), 0);
    from.client.subscribe(&[("chaos/#", qos)], Token(1), Sending::Soon).expect("connected");
    wait("subscribed", || {
        from.client.swap_events(&mut from.events, false);
        std::iter::from_fn(|| from.events.pop().map(|event| matches!(event, Event::Subscribed { .. })))
            .any(|it| it)
    });

    for proxy in &proxies {
        proxy.rage(true);
    }
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut publish = |to: &Side, sent: &mut usize| {
        let payload = format!("{sent}{}", ".".repeat(random.below(120)));
        let token = Token(*sent as u32 + 1);
        to.client.publish("chaos/t", payload.as_bytes(), qos, false, token, Sending::Soon).expect("room");
        *sent += 1;
    };
    let finished = |to: &Side, from: &Side, sent: usize| {
        to.client.pending().0 == 0 && from.got.last().is_none_or(|last| last + 1 == sent)
    };
    let mut sent = 0;
    let mut restarts = 0;
    let mut in_mid_flow = 0;
    loop {
        let cuts = proxies.iter().map(Proxy::cuts).min().unwrap_or(0);
        // As far as the cuts and the restarts have come, so that these are spread over all messages.
        let by_cuts = cuts * scale.messages / scale.cuts + 20;
        let by_restarts = (restarts + 1) * scale.messages / (scale.restarts + 1);
        let allowed = by_cuts.min(by_restarts).min(scale.messages);
        while sent < allowed {
            publish(&to, &mut sent);
        }
        if restarts < scale.restarts
            && cuts >= (restarts + 1) * scale.cuts / (scale.restarts + 1)
            && [&to, &from].iter().all(|side| side.is_connected())
        {
            // Some of a batch has come and some is still under way.
            let before = from.got.len();
            wait("some of it has come", || {
                if to.client.pending().0 == 0 {
                    let batch = (sent + 40).min(scale.messages);
                    while sent < batch {
                        publish(&to, &mut sent);
                    }
                }
                to.take();
                from.take();
                let some_came = from.got.len() > before;
                some_came && to.client.pending().0 > 0 || finished(&to, &from, sent) && sent == scale.messages
            });
            in_mid_flow += usize::from(to.client.pending().0 > 0);
            broker.restart();
            restarts += 1;
        }
        let calm = sent == scale.messages && cuts >= scale.cuts && restarts == scale.restarts;
        proxies.iter().for_each(|proxy| proxy.rage(!calm));
        to.take();
        from.take();
        if calm && finished(&to, &from, sent) {
            break;
        }
        assert!(
            began.elapsed() < scale.limit,
            "{name}: {sent} sent, {:?} pending, {} came, the last {:?}, {cuts} cuts",
            to.client.pending(),
            from.got.len(),
            from.got.last(),
        );
        thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    // What ended after the last look, and before nothing was pending.
    to.take();
    from.take();
    for (proxy, side) in proxies.iter().zip(["publisher", "subscriber"]) {
        let (attempts, most) = proxy.attempts(Duration::from_secs(5));
        println!(
            "{name}, {side}: {} cuts, {} stalls, {attempts} attempts, {most} at most in 5 s",
            proxy.cuts(),
            proxy.stalls()
        );
        assert!(most <= 25, "a storm");
    }
    let repeated: Vec<usize> = proxies[1].repeated().iter().map(|payload| number(payload)).collect();
    println!(
        "{name}: {} messages came as {}, {} repeated by the broker, {restarts} restarts, {in_mid_flow} of them in mid-flow, \
         {took:.1?}",
        scale.messages,
        from.got.len(),
        repeated.len()
    );
    assert!(2 * in_mid_flow > restarts, "most restarts fell between messages");
    assert_eq!(to.sessions_lost + from.sessions_lost, 0, "the broker kept the sessions");
    let odd = to.done.iter().enumerate().find(|&(_, &times)| times != 1);
    assert_eq!(odd, None, "number of a publish that is not done once, and how often it is");
    (from.got, repeated)
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
