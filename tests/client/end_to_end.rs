//! With the embedded broker: the layers together.

use mqtt::broker::{Broker, BrokerOptions};
use mqtt::client::{Options, Sending, Will};
use mqtt::codec::Qos;
use mqtt::session::Token;

use super::support::*;

fn named(broker: &Broker, name: &str) -> Options {
    let mut options = options(broker.port());
    options.profiles[0].connect.client_id = name.into();
    options
}

fn connect(broker: &Broker, name: &str) -> Tested {
    let mut tested = Tested::new();
    tested.client.connect(named(broker, name));
    assert_eq!(tested.next(), CONNECTED);
    tested
}

#[test]
fn messages_of_every_qos_come_back() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let mut tested = connect(&broker, "echo");
    tested.client.subscribe(&[("t/#", Qos::ExactlyOnce)], Token(9), Sending::Soon).unwrap();
    assert_eq!(tested.next(), Seen::Subscribed(Token(9)));
    for (qos, token) in [(Qos::AtMostOnce, 1), (Qos::AtLeastOnce, 2), (Qos::ExactlyOnce, 3)] {
        let payload = [token as u8; 3];
        tested.client.publish("t/x", &payload, qos, false, Token(token), Sending::Soon).unwrap();
        let mut seen = [tested.next(), tested.next()];
        seen.sort_by_key(|event| matches!(event, Seen::Published(_)));
        assert_eq!(seen, [Seen::Message("t/x".into(), payload.into()), Seen::Published(Token(token))]);
    }
    tested.client.unsubscribe(&["t/#"], Token(8), Sending::Soon).unwrap();
    assert_eq!(tested.next(), Seen::Unsubscribed(Token(8)));
    tested.client.close();
    assert_eq!(tested.next(), Seen::Offline);
    tested.expect_rest();
}

#[test]
fn the_will_is_published_at_a_loss_and_not_at_close() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let mut watcher = connect(&broker, "watcher");
    watcher.client.subscribe(&[("will/#", Qos::AtMostOnce)], Token(1), Sending::Soon).unwrap();
    assert_eq!(watcher.next(), Seen::Subscribed(Token(1)));
    let with_will = |name: &str| {
        let mut options = named(&broker, name);
        options.profiles[0].connect.will = Some(Will {
            topic: format!("will/{name}"),
            message: b"gone".to_vec(),
            qos: Qos::AtMostOnce,
            retain: false,
        });
        let mut tested = Tested::new();
        tested.client.connect(options);
        assert_eq!(tested.next(), CONNECTED);
        tested
    };
    let mut closed = with_will("closed");
    let mut lost = with_will("lost");
    closed.client.close();
    assert_eq!(closed.next(), Seen::Offline);
    assert!(broker.kill("lost"));
    assert_eq!(lost.next(), Seen::Offline);
    assert_eq!(watcher.next(), Seen::Message("will/lost".into(), b"gone".to_vec()));
}

#[test]
fn two_hundred_clients_connect_and_close() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let mut clients: Vec<Tested> = (0..200)
        .map(|number| {
            let tested = Tested::new();
            tested.client.connect(named(&broker, &format!("c{number}")));
            tested
        })
        .collect();
    for tested in &mut clients {
        assert_eq!(tested.next(), CONNECTED);
        tested.publish("n", b"1", Qos::AtLeastOnce).unwrap();
    }
    for tested in &mut clients {
        assert_eq!(tested.next(), Seen::Published(Token::NONE));
        tested.client.close();
        assert_eq!(tested.next(), Seen::Offline);
    }
}
