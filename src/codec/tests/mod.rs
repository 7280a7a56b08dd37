//! The codec against literal bytes. Streams and lengths are tested in `frame.rs`, topics and filters in `topic.rs`.

mod connect;
mod messages;
mod random;
mod subscribe;

use super::{Deframer, Error, Packet, PacketId, v4};

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("tests use ids above 0")
}

/// What an encoder appends; it must leave alone what is there.
fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out);
    assert!(out.starts_with(b"before"));
    out.split_off(6)
}

/// Decodes one packet: whole, cut in two at every place, and byte by byte. `check` sees every result.
fn decode_each_way(bytes: &[u8], mut check: impl FnMut(Result<Packet<'_>, Error>)) {
    let mut run = |pieces: &[&[u8]]| {
        let mut deframer = Deframer::new(None);
        let mut results = 0;
        for &piece in pieces {
            let mut input = piece;
            let result = match deframer.next(&mut input) {
                Ok(None) => continue,
                Ok(Some(frame)) => v4::decode(&frame),
                Err(error) => Err(error),
            };
            check(result);
            results += 1;
            // After an error nothing more is read.
            if result.is_err() {
                break;
            }
            assert!(input.is_empty(), "one packet only");
        }
        assert_eq!(results, 1, "the packet is whole: {bytes:02x?}");
    };
    run(&[bytes]);
    for at in 1..bytes.len() {
        let (left, right) = bytes.split_at(at);
        run(&[left, right]);
    }
    run(&bytes.chunks(1).collect::<Vec<_>>());
}

/// The bytes decode to this packet, and the packet encodes to these bytes.
fn assert_packet(bytes: &[u8], packet: Packet<'_>) {
    decode_each_way(bytes, |result| assert_eq!(result, Ok(packet)));
    assert_eq!(encoded(|out| v4::encode(out, &packet)), bytes, "{packet:?}");
}

/// The bytes are wrong, and the message says so with this clause.
fn assert_error(bytes: &[u8], expected: Error, clause: &str) {
    decode_each_way(bytes, |result| assert_eq!(result, Err(expected), "{bytes:02x?}"));
    let message = expected.to_string();
    assert!(message.contains(&format!("[{clause}]")), "{message:?} cites {clause}");
}
