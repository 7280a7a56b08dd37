//! Random publishes, partial writes, delays, cuts and reconnects, against the model broker; the same in every run.

use std::collections::BTreeMap;
use std::time::Duration;

use mqtt::session::{Config, Limits, Refused, Resubscribe, Token};

use crate::support::random::Random;
use crate::support::world::World;
use crate::support::*;

/// What becomes of the session between connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The broker always keeps it.
    Kept,
    /// The broker loses it now and then.
    Lossy,
    /// The client wants a new one each time.
    Clean,
}

struct Run {
    world: World,
    random: Random,
    mode: Mode,
    /// What was accepted from the client: QoS and payload, in order; the token is the index plus 1.
    accepted: Vec<(u8, String)>,
    /// What was published to the client while it had a session.
    incoming: Vec<(u8, String)>,
    /// Tokens of SUBSCRIBE and UNSUBSCRIBE.
    requests: Vec<u32>,
    /// How much had happened when a publish was last refused for lack of room.
    refused_at: Option<usize>,
}

/// Tokens of requests start here.
const REQUESTS: u32 = 1_000_000;

impl Run {
    fn new(seed: u64, mode: Mode) -> Run {
        let mut random = Random::new(seed);
        let limits = Limits {
            max_queue: [2_000, 20_000, 1 << 20][random.below(3)],
            inflight: 1 + random.below(6) as u16,
            ..Limits::default()
        };
        let resubscribe = [Resubscribe::Never, Resubscribe::NewSession, Resubscribe::Always][random.below(3)];
        let config = Config { limits, resubscribe, keep_messages: random.one_in(2) };
        let mut world = World::new(config, mode == Mode::Clean);
        world.named = random.one_in(2);
        world.connect.keep_alive = [0, 5][random.below(2)];
        if mode == Mode::Kept {
            // So that the broker has a session from the start.
            world.open();
            world.settle();
        }
        Run {
            world,
            random,
            mode,
            accepted: Vec::new(),
            incoming: Vec::new(),
            requests: Vec::new(),
            refused_at: None,
        }
    }

    fn step(&mut self) {
        let n = 1 + self.random.below(30);
        match self.random.below(100) {
            0..20 => self.publish(),
            20..30 => self.publish_to_client(),
            30..34 => self.request(),
            34..54 => _ = self.world.write(n),
            54..58 => self.world.lend(),
            58..72 => _ = self.world.carry_up(n),
            72..86 => _ = self.world.carry_down(n),
            86..92 => self.world.settle(),
            92..95 => self.pass(),
            95 => self.goodbye(),
            96 => self.world.client.session.drop_unsent_messages(),
            _ => self.cut(),
        }
        if !self.world.online && self.random.one_in(4) {
            self.world.broker.forgetful = self.mode == Mode::Lossy && self.random.one_in(3);
            self.world.open();
        }
    }

    fn publish(&mut self) {
        let level = self.random.below(3) as u8;
        let payload = format!("{level}:{}", self.accepted.len());
        match self.world.publish(level, &payload, self.accepted.len() as u32 + 1) {
            Ok(()) => self.accepted.push((level, payload)),
            Err(Refused::QueueFull) => self.refused_at = Some(self.world.happened.len()),
            Err(Refused::NotConnected) => {
                let session = &self.world.client.session;
                assert!(!session.is_connected(), "a session with a connection is connected");
            }
        }
    }

    fn publish_to_client(&mut self) {
        let level = self.random.below(3) as u8;
        let payload = format!("{level}:{}", self.incoming.len());
        self.world.broker.publish(level, &payload);
        self.incoming.push((level, payload));
    }

    fn request(&mut self) {
        let token = REQUESTS + self.requests.len() as u32;
        let session = &mut self.world.client.session;
        let filter = ["a", "b", "c"][self.random.below(3)];
        let result = if self.random.one_in(2) {
            session.subscribe(&[(filter, qos(1))], Token(token))
        } else {
            session.unsubscribe(&[filter], Token(token))
        };
        match result {
            Ok(()) => self.requests.push(token),
            Err(refused) => assert_eq!(refused, Refused::NotConnected),
        }
    }

    fn pass(&mut self) {
        let client = &mut self.world.client;
        client.now += Duration::from_millis(self.random.below(4000) as u64);
        if client.session.handle_timeout(client.now).is_err() {
            self.cut();
        }
    }

    fn goodbye(&mut self) {
        if self.world.client.session.is_connected() {
            self.world.disconnect();
            self.world.settle();
            assert!(self.world.broker.has_ended());
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.world.online {
            self.world.cut();
        }
    }

    /// Nothing is in the way any longer: everything arrives, and the books are closed.
    fn finish(mut self) {
        if !self.world.online || !self.world.client.session.is_connected() {
            self.cut();
            self.world.open();
        }
        self.world.settle();
        let Run { world, mode, accepted, incoming, requests, refused_at, .. } = self;

        assert!(world.client.session.is_connected());
        assert_eq!(world.client.session.pending(), (0, 0));
        assert_eq!(world.client.session.ids_in_use(), 0);
        assert_eq!(world.monitor.in_use(), 0);
        assert_eq!(world.client.session.unsent(), 0);
        assert!(world.broker.is_done());
        check_delivery(&accepted, &world.broker.delivered, mode == Mode::Kept);
        if mode == Mode::Kept {
            check_delivery(&incoming, &world.received(), true);
        }

        // Each call hears of its end once.
        let mut ends = BTreeMap::new();
        for happened in &world.happened {
            let (token, kept) = match happened {
                Happened::Published { token, .. } => (token, true),
                Happened::Subscribed { token, .. } | Happened::Unsubscribed { token } => (token, true),
                Happened::Dropped { token } => (token, false),
                _ => continue,
            };
            if *token != 0 {
                assert!(ends.insert(*token, kept).is_none(), "token {token} ends twice");
            }
        }
        assert_eq!(ends.len(), accepted.len() + requests.len());
        for (token, (level, payload)) in (1..).zip(&accepted) {
            assert!(ends[&token] || *level == 0, "{payload} was dropped");
        }
        if let Some(at) = refused_at {
            assert!(world.happened[at..].contains(&Happened::Drained), "nobody said that there is room");
        }
    }
}

/// Per QoS: in order, QoS 0 at most once, QoS 1 at least once, QoS 2 exactly once if the session was kept, else at least
/// once.
fn check_delivery(published: &[(u8, String)], delivered: &[(u8, String)], kept: bool) {
    for level in 0..3 {
        let of = |messages: &[(u8, String)]| -> Vec<String> {
            messages.iter().filter(|(qos, _)| *qos == level).map(|(_, payload)| payload.clone()).collect()
        };
        let (published, delivered) = (of(published), of(delivered));
        let mut firsts = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for payload in &delivered {
            if seen.insert(payload) {
                firsts.push(payload.clone());
            }
        }
        match level {
            0 => {
                let mut all = published.iter();
                assert!(firsts.iter().all(|payload| all.any(|other| other == payload)), "order of QoS 0");
                assert_eq!(firsts, delivered, "QoS 0 at most once");
            }
            2 if kept => assert_eq!(delivered, published),
            _ => assert_eq!(firsts, published),
        }
    }
}

fn run(mode: Mode, seeds: std::ops::Range<u64>) {
    let mut totals = [0; 3];
    for seed in seeds {
        // Shown when the test fails.
        println!("{mode:?}, seed {seed}");
        let mut run = Run::new(seed, mode);
        for _ in 0..600 {
            run.step();
        }
        for (level, _) in &run.accepted {
            totals[usize::from(*level)] += 1;
        }
        run.finish();
    }
    assert!(totals.iter().all(|total| *total > 1000), "{totals:?}: the steps do too little");
}

#[test]
fn mqtt_7_0_0_2_a_broker_that_does_what_the_standard_says_and_no_more_is_enough() {
    let mut world = World::new(Config::default(), true);
    world.connect.keep_alive = 10;
    world.open();
    world.settle();
    world.client.session.subscribe(&[("t", qos(2))], Token(9)).expect("connected");
    for level in 0..3 {
        world.publish(level, "to the broker", 1).expect("connected");
        world.broker.publish(level, "to the client");
    }
    world.settle();
    world.client.now += Duration::from_secs(10);
    world.client.session.handle_timeout(world.client.now).expect("alive");
    world.settle(); // PINGREQ and PINGRESP
    assert_eq!(world.client.pass(9.0), Ok(vec![]));
    world.client.session.unsubscribe(&["t"], Token(9)).expect("connected");
    world.settle();
    world.disconnect();
    world.settle();
    assert!(world.broker.has_ended());
    assert_eq!(world.broker.delivered.len(), 3);
    let happened = |wanted: fn(&Happened) -> bool| world.happened.iter().filter(|one| wanted(one)).count();
    assert_eq!(happened(|one| matches!(one, Happened::Message { .. })), 3);
    assert_eq!(happened(|one| matches!(one, Happened::Published { .. })), 3);
    assert_eq!(happened(|one| matches!(one, Happened::Subscribed { .. } | Happened::Unsubscribed { .. })), 2);
}

#[test]
fn nothing_is_lost_doubled_or_reordered_while_the_session_is_kept() {
    run(Mode::Kept, 1..301);
}

#[test]
fn nothing_is_lost_or_reordered_by_a_broker_that_loses_sessions() {
    run(Mode::Lossy, 1001..1201);
}

#[test]
fn nothing_is_lost_or_reordered_with_clean_sessions() {
    run(Mode::Clean, 2001..2201);
}
