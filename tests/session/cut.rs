//! The link is cut after every single byte of an exchange, in both directions, and comes back.

use mqtt::session::Config;

use crate::support::world::World;

/// What the broker does with its session when the client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// The client asked for it and the broker kept it.
    Kept,
    /// The client asked for it and the broker lost it.
    Lost,
    /// The client wants a new one each time.
    Clean,
}

/// How the bytes go over the link, one at a time.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The client's system takes all that there is, though it arrives byte by byte: a cut loses what was taken.
    buffered: bool,
    /// Bytes of the broker go first.
    down_first: bool,
}

const PACES: [Pace; 4] = [
    Pace { buffered: false, down_first: false },
    Pace { buffered: false, down_first: true },
    Pace { buffered: true, down_first: false },
    Pace { buffered: true, down_first: true },
];

/// Moves one byte; false if there is none to move.
fn step(world: &mut World, pace: Pace) -> bool {
    for up in [!pace.down_first, pace.down_first] {
        let moved = if up {
            world.write(if pace.buffered { usize::MAX } else { 1 });
            world.carry_up(1)
        } else {
            world.carry_down(1)
        };
        if moved > 0 {
            return true;
        }
    }
    false
}

/// What is exchanged.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    session: Session,
    qos: u8,
    /// Messages of the client, and of the broker.
    outgoing: u32,
    incoming: u32,
    /// The messages wait when the connection is made, so that CONNECT and CONNACK are a part of the exchange.
    early: bool,
}

impl Exchange {
    /// Lets the link break after as many bytes as `cuts` say, once for each; none if there were fewer bytes than that.
    fn run(self, pace: Pace, cuts: &[usize]) -> Option<World> {
        let mut world = World::new(Config::default(), self.session == Session::Clean);
        world.open();
        world.settle();
        if self.early {
            world.cut();
        }
        for n in 1..=self.outgoing {
            world.publish(self.qos, &n.to_string(), n).expect("accepted");
        }
        for n in 1..=self.incoming {
            world.broker.publish(self.qos, &n.to_string());
        }
        if self.early {
            world.open();
        }
        for cut in cuts {
            for _ in 0..*cut {
                if !step(&mut world, pace) {
                    return None;
                }
            }
            world.cut();
            world.broker.forgetful = self.session == Session::Lost;
            world.open();
        }
        while step(&mut world, pace) {}
        Some(world)
    }

    /// Everything arrived as often as it should, in order, and nothing is left.
    fn check(self, world: &World, context: &str) {
        let all = |count: u32| (1..=count).map(|n| (self.qos, n.to_string())).collect::<Vec<_>>();
        let exactly_once = self.qos == 2 && self.session == Session::Kept;
        let delivered = &world.broker.delivered;
        if exactly_once {
            assert_eq!(*delivered, all(self.outgoing), "{context}");
        } else {
            assert_eq!(firsts(delivered), all(self.outgoing), "{context}");
        }
        let received = world.received();
        match self.session {
            Session::Kept if exactly_once => assert_eq!(received, all(self.incoming), "{context}"),
            Session::Kept => assert_eq!(firsts(&received), all(self.incoming), "{context}"),
            // What the broker forgot cannot arrive; what arrives does so in order and at QoS 2 once.
            Session::Lost | Session::Clean => {
                assert!(received.is_sorted(), "{context}");
                assert!(self.qos == 1 || firsts(&received) == received, "{context}");
            }
        }
        let mut done = world.done();
        done.sort_unstable();
        assert_eq!(done, (1..=self.outgoing).collect::<Vec<_>>(), "each is done once; {context}");
        assert!(world.client.session.is_connected(), "{context}");
        assert_eq!(world.client.session.pending(), (0, 0), "{context}");
        assert_eq!(world.client.session.ids_in_use(), 0, "{context}");
        assert_eq!(world.monitor.in_use(), 0, "{context}");
        assert!(world.broker.is_done(), "{context}");
    }

    /// One cut after each byte; how many there were.
    fn cut_once(self) -> usize {
        let mut runs = 0;
        for pace in PACES {
            for cut in 0.. {
                let Some(world) = self.run(pace, &[cut]) else { break };
                self.check(&world, &format!("{self:?} {pace:?} cut after {cut} bytes"));
                runs += 1;
            }
        }
        runs
    }

    /// A cut after each byte, and another after each byte of the next connection.
    fn cut_twice(self) -> usize {
        let mut runs = 0;
        for pace in PACES {
            for first in 0.. {
                if self.run(pace, &[first]).is_none() {
                    break;
                }
                for second in 0.. {
                    let Some(world) = self.run(pace, &[first, second]) else { break };
                    self.check(&world, &format!("{self:?} {pace:?} cut after {first} and {second} bytes"));
                    runs += 1;
                }
            }
        }
        runs
    }
}

/// The messages without their repetitions.
fn firsts(messages: &[(u8, String)]) -> Vec<(u8, String)> {
    let mut firsts: Vec<(u8, String)> = Vec::new();
    for message in messages {
        if !firsts.contains(message) {
            firsts.push(message.clone());
        }
    }
    firsts
}

fn three(session: Session, qos: u8, early: bool) -> Exchange {
    Exchange { session, qos, outgoing: 3, incoming: 3, early }
}

#[test]
fn mqtt_4_3_2_qos_1_arrives_at_least_once_wherever_the_link_is_cut() {
    // 3 PUBLISHes of 8 bytes and as many PUBACKs of 4 bytes each way, besides CONNECT and CONNACK.
    assert!(three(Session::Kept, 1, false).cut_once() > 4 * 72);
    assert!(three(Session::Kept, 1, true).cut_once() > 4 * 72);
}

#[test]
fn mqtt_4_3_3_qos_2_arrives_exactly_once_wherever_the_link_is_cut() {
    // 3 PUBLISHes of 8 bytes, PUBRECs, PUBRELs and PUBCOMPs of 4 bytes each way.
    assert!(three(Session::Kept, 2, false).cut_once() > 4 * 120);
    assert!(three(Session::Kept, 2, true).cut_once() > 4 * 120);
}

#[test]
fn each_direction_alone_is_the_same() {
    for qos in 1..=2 {
        for early in [false, true] {
            for (outgoing, incoming) in [(2, 0), (0, 2)] {
                Exchange { session: Session::Kept, qos, outgoing, incoming, early }.cut_once();
            }
        }
    }
}

#[test]
fn mqtt_4_3_2_qos_1_arrives_at_least_once_through_two_cuts() {
    let exchange = Exchange { session: Session::Kept, qos: 1, outgoing: 1, incoming: 1, early: true };
    assert!(exchange.cut_twice() > 4 * 1000);
}

#[test]
fn mqtt_4_3_3_qos_2_arrives_exactly_once_through_two_cuts() {
    let exchange = Exchange { session: Session::Kept, qos: 2, outgoing: 1, incoming: 1, early: true };
    assert!(exchange.cut_twice() > 4 * 2000);
}

#[test]
fn a_clean_session_publishes_afresh_wherever_the_link_is_cut() {
    for qos in 1..=2 {
        for early in [false, true] {
            three(Session::Clean, qos, early).cut_once();
        }
        Exchange { session: Session::Clean, qos, outgoing: 1, incoming: 1, early: true }.cut_twice();
    }
}

#[test]
fn a_broker_that_loses_the_session_gets_everything_wherever_the_link_is_cut() {
    for qos in 1..=2 {
        for early in [false, true] {
            three(Session::Lost, qos, early).cut_once();
        }
        Exchange { session: Session::Lost, qos, outgoing: 1, incoming: 1, early: true }.cut_twice();
    }
}
