//! Hostile brokers: every way to misbehave that we could think of, each with its verdict, against the real client over TCP.
//!
//! The behaviours are tables: `connack.rs` (before the connection is accepted), `malformed.rs` (packets that are wrong in
//! themselves), `order.rs` (right packets in wrong places), `stream.rs` (lengths, cuts, floods, silence). What a behaviour
//! is made of and what is checked for each: `tests/support/hostile.rs`.

#[allow(dead_code)]
#[path = "../client/support.rs"]
mod client;
mod connack;
#[path = "../support/hostile.rs"]
mod hostile;
mod malformed;
mod order;
mod stream;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hostile::{Behaviour, Manner, Verdict, judge};
use parking_lot::Mutex;

/// Behaviours played at once, but for those that take their time.
const AT_ONCE: usize = 16;

fn behaviours() -> Vec<Behaviour> {
    [connack::behaviours(), malformed::behaviours(), order::behaviours(), stream::behaviours()].concat()
}

/// Plays all of them; panics with the names of those that failed, whose own messages come before.
fn judge_all(behaviours: &[Behaviour], manner: Manner) {
    // One table at a time: what is measured is the client, not a crowd of threads.
    let _turn = TURN.lock();
    let (failed, late) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let try_one = |behaviour: &Behaviour| match catch_unwind(AssertUnwindSafe(|| judge(behaviour, manner))) {
        Ok(took) if took < behaviour.limit() => {}
        Ok(took) => late.lock().push((behaviour.clone(), took)),
        Err(_) => {
            eprintln!("^ {manner:?}: {}", behaviour.name);
            failed.lock().push(behaviour.name.clone());
        }
    };
    let (slow, fast): (Vec<_>, Vec<_>) =
        behaviours.iter().partition(|behaviour| behaviour.verdict == Verdict::Dead);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for behaviour in slow {
            scope.spawn(|| try_one(behaviour));
        }
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(behaviour) = fast.get(next.fetch_add(1, Ordering::Relaxed)) {
                    try_one(behaviour);
                }
            });
        }
    });
    // A machine that was busy elsewhere is not the client's fault: once more, alone.
    for (behaviour, took) in late.into_inner() {
        eprintln!("{manner:?}: {} took {took:?}, judged once more", behaviour.name);
        assert!(judge(&behaviour, manner) < behaviour.limit(), "{}: again too late", behaviour.name);
    }
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), behaviours.len());
}

static TURN: Mutex<()> = Mutex::new(());

#[test]
fn there_are_at_least_120_behaviours_each_with_a_name_of_its_own() {
    let behaviours = behaviours();
    let names: HashSet<_> = behaviours.iter().map(|behaviour| &behaviour.name).collect();
    assert_eq!(names.len(), behaviours.len());
    let count = |verdict| behaviours.iter().filter(|behaviour| behaviour.verdict == verdict).count();
    println!(
        "{} VIOLATION, {} DEAD, {} HARMLESS",
        count(Verdict::Violation),
        count(Verdict::Dead),
        count(Verdict::Harmless)
    );
    assert!(behaviours.len() >= 120);
}

#[test]
fn every_behaviour_meets_its_verdict() {
    judge_all(&behaviours(), Manner::Plain);
}

#[test]
fn every_behaviour_meets_its_verdict_byte_by_byte() {
    let quick: Vec<_> = behaviours().into_iter().filter(|one| one.verdict != Verdict::Dead).collect();
    judge_all(&quick, Manner::ByteByByte);
}

#[test]
fn a_client_that_reconnects_is_back_after_every_violation() {
    let lost: Vec<_> =
        behaviours().into_iter().filter(|one| one.verdict == Verdict::Violation && one.accepted).collect();
    judge_all(&lost, Manner::Reconnecting);
}
