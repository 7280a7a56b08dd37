//! Until the connection is accepted.

use crate::client::ACCEPTED;
use crate::hostile::{Behaviour, Step, dead, harmless, violation};

pub(crate) fn behaviours() -> Vec<Behaviour> {
    let mut all = Vec::new();

    // What comes is no CONNACK, or a wrong one.
    let wrong: [(&str, &[u8]); 35] = [
        ("PUBLISH of QoS 0", b"\x30\x04\0\x01tx"),
        ("PUBLISH of QoS 1", b"\x32\x06\0\x01t\0\x01x"),
        ("PUBLISH of QoS 2", b"\x34\x06\0\x01t\0\x01x"),
        ("PUBACK", &[0x40, 2, 0, 1]),
        ("PUBREC", &[0x50, 2, 0, 1]),
        ("PUBREL", &[0x62, 2, 0, 1]),
        ("PUBCOMP", &[0x70, 2, 0, 1]),
        ("SUBACK", &[0x90, 3, 0, 1, 0]),
        ("UNSUBACK", &[0xB0, 2, 0, 1]),
        ("PINGRESP", &[0xD0, 0]),
        ("SUBSCRIBE", b"\x82\x06\0\x01\0\x01a\0"),
        ("UNSUBSCRIBE", b"\xA2\x05\0\x01\0\x01a"),
        ("PINGREQ", &[0xC0, 0]),
        ("DISCONNECT", &[0xE0, 0]),
        ("reserved type 0", &[0x00, 0]),
        ("reserved type 15", &[0xF0, 0]),
        ("CONNACK with fixed header flags", &[0x21, 2, 0, 0]),
        ("CONNACK with a reserved acknowledge flag", &[0x20, 2, 2, 0]),
        ("CONNACK with all acknowledge flags", &[0x20, 2, 0xFF, 0]),
        ("CONNACK with return code 6", &[0x20, 2, 0, 6]),
        ("CONNACK with return code 128", &[0x20, 2, 0, 0x80]),
        ("CONNACK with return code 255", &[0x20, 2, 0, 0xFF]),
        ("CONNACK that refuses and has a session", &[0x20, 2, 1, 2]),
        ("CONNACK without a body", &[0x20, 0]),
        ("CONNACK of one byte", &[0x20, 1, 0]),
        ("CONNACK of three bytes, as in MQTT 5", &[0x20, 3, 0, 0, 0]),
        ("CONNACK of 256 MB", &[0x20, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("CONNACK with a length of five bytes", &[0x20, 0x82, 0x80, 0x80, 0x80, 0x00]),
        ("SUBACK of 256 MB", &[0x90, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an HTTP server", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        ("an SSH server", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("an SMTP server", b"220 mail ESMTP\r\n"),
        ("a TLS alert", &[0x15, 3, 3, 0, 2, 2, 40]),
        ("zeros", &[0; 64]),
        ("0xFF for ever", &[0xFF; 64]),
    ];
    for (name, bytes) in wrong {
        all.push(violation(&format!("{name} instead of CONNACK")).connecting().send(bytes));
    }
    all.push(violation("CONNECT sent back").connecting().step(Step::Echo));
    all.push(violation("PUBLISH before CONNECT was read").send(b"\x30\x04\0\x01tx"));
    all.push(violation("PUBLISH and CONNACK").connecting().send(b"\x30\x04\0\x01tx\x20\x02\0\0"));

    // It refuses: the reason is the broker's, and the connection is ended even if the broker keeps it.
    for code in 1..=5 {
        let name = format!("refusal {code}, connection kept open");
        all.push(violation(&name).connecting().send(&[0x20, 2, 0, code]).fails(code as i8));
    }
    let refusal = [0x20, 2, 0, 5];
    all.push(violation("refusal, then closed").connecting().send(&refusal).step(Step::Close).fails(5));
    all.push(
        violation("refusal, then half-closed").connecting().send(&refusal).step(Step::HalfClose).fails(5),
    );
    all.push(violation("refusal, then accepted").connecting().send(&[0x20, 2, 0, 3, 0x20, 2, 0, 0]).fails(3));
    all.push(
        violation("refusal, then a message").connecting().send(b"\x20\x02\0\x04\x30\x04\0\x01tx").fails(4),
    );

    // It goes away.
    for (how, step) in [("closed", Step::Close), ("half-closed", Step::HalfClose), ("reset", Step::Reset)] {
        let step = || step.clone();
        all.push(violation(&format!("{how} at once")).step(step()));
        all.push(violation(&format!("{how} after CONNECT")).connecting().step(step()));
        all.push(
            violation(&format!("{how} after one byte of CONNACK")).connecting().send(&[0x20]).step(step()),
        );
        all.push(
            violation(&format!("{how} one byte before the end of CONNACK"))
                .connecting()
                .send(&[0x20, 2, 0])
                .step(step()),
        );
        if how != "reset" {
            // (a reset may overtake CONNACK)
            let name = format!("{how} right after CONNACK");
            all.push(violation(&name).connected().step(step()));
        }
    }

    // It is silent.
    all.push(dead("silent, CONNECT unread").fails(-2));
    all.push(dead("silent after CONNECT").connecting().fails(-2));
    all.push(dead("silent after CONNECT, with keep-alive").keep_alive().connecting().fails(-2));
    for n in 1..4 {
        let name = format!("silent after {n} bytes of CONNACK");
        all.push(dead(&name).connecting().send(&ACCEPTED[..n]).fails(-2));
    }
    all.push(
        violation("256 MB announced instead of CONNACK").connecting().send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
    );
    all.push(dead("an endless length begun instead of CONNACK").connecting().send(&[0x20, 0x80]).fails(-2));

    // It accepts in an odd way.
    all.push(harmless("CONNACK in two pieces").connecting().send(&[0x20]).send(&[2, 0, 0]).accepts());
    all.push(harmless("CONNACK before CONNECT was read").send(&ACCEPTED).step(Step::Connect).accepts());
    all.push(
        harmless("CONNACK with a length of four bytes")
            .connecting()
            .send(&[0x20, 0x82, 0x80, 0x80, 0x00, 0, 0])
            .accepts(),
    );
    all.push(
        harmless("CONNACK and a message in one")
            .connecting()
            .send(b"\x20\x02\0\0\x30\x04\0\x01tx")
            .accepts()
            .tells(&["t=x"]),
    );
    all.push(harmless("session present for a clean session").connecting().send(&[0x20, 2, 1, 0]).accepts());
    all.push(
        harmless("session present for a session that never was")
            .keeping_session()
            .connecting()
            .send(&[0x20, 2, 1, 0])
            .accepts()
            .present(),
    );
    all
}
