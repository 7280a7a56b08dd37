//! rumqttc's asynchronous client on a runtime of one thread, which is faster than on more.

use std::time::{Duration, Instant};

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet, QoS,
};
use tokio::runtime::Builder;

use super::{Latencies, Task, Watch, report_memory, resident};
use crate::wire::{self, ECHO, TOPIC};

/// Messages under way, and requests between client and event loop.
const WINDOW: u16 = 1000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Does one task and prints its line.
pub fn run(task: &Task) -> Outcome {
    Builder::new_current_thread().enable_all().build()?.block_on(perform(task))
}

async fn perform(task: &Task) -> Outcome {
    match task.job.as_str() {
        "publish0" | "publish1" | "publish2" => publish(task).await?,
        "receive0" | "receive1" => receive(task).await?,
        "echo" => echo(task).await?,
        "connect" => {
            let watch = Watch::start();
            for n in 0..task.count {
                let (client, mut events) = connect(task, n).await?;
                client.disconnect().await?;
                while !matches!(events.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {}
            }
            watch.report("");
        }
        "idle" => {
            let mut clients = vec![connect(task, task.count).await?];
            let (before, watch) = (resident(), Watch::start());
            for n in 0..task.count {
                clients.push(connect(task, n).await?);
            }
            watch.report(&report_memory(before, task.count));
        }
        _ => return Err("unknown job".into()),
    }
    Ok(())
}

async fn connect(task: &Task, n: usize) -> Result<(AsyncClient, EventLoop), ConnectionError> {
    let mut options = MqttOptions::new(format!("rumqttc{}-{n}", std::process::id()), "127.0.0.1", task.port);
    options.set_keep_alive(Duration::from_secs(60)).set_inflight(WINDOW);
    let largest = task.size + 1024;
    options.set_max_packet_size(largest.max(10 * 1024), largest.max(10 * 1024));
    let (client, mut events) = AsyncClient::new(options, WINDOW.into());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(task.job == "echo");
    events.set_network_options(network);
    while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    Ok((client, events))
}

/// One task publishes, another one drives the connection.
async fn publish(task: &Task) -> Outcome {
    let (client, mut events) = connect(task, 0).await?;
    let (count, qos, payload) = (task.count, task.qos(), wire::payload(task.size));
    let watch = Watch::start();
    let publisher = tokio::spawn(async move {
        for n in 1..=count {
            let qos = match qos {
                0 if n < count => QoS::AtMostOnce,
                2 => QoS::ExactlyOnce,
                _ => QoS::AtLeastOnce, // of the last one the end is seen
            };
            if client.publish(TOPIC, qos, false, payload.clone()).await.is_err() {
                return;
            }
        }
    });
    let mut left = if qos == 0 { 1 } else { count };
    while left > 0 {
        if let Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) = events.poll().await? {
            left -= 1;
        }
    }
    watch.report("");
    Ok(publisher.await?)
}

async fn receive(task: &Task) -> Outcome {
    let qos = task.qos();
    let (client, mut events) = connect(task, 0).await?;
    let filter = wire::blast_topic(task.count, task.size, qos);
    client.subscribe(filter, if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }).await?;
    let (mut left, mut unacknowledged) = (task.count, if qos == 0 { 0 } else { task.count });
    let mut watch = None;
    while left > 0 || unacknowledged > 0 {
        match events.poll().await? {
            Event::Incoming(Packet::Publish(message)) => {
                watch.get_or_insert_with(Watch::start);
                std::hint::black_box(&message.payload);
                left -= 1;
            }
            Event::Incoming(Packet::SubAck(_)) => println!("subscribed"),
            Event::Outgoing(Outgoing::PubAck(_)) => unacknowledged -= 1,
            _ => {}
        }
    }
    watch.expect("there were messages").report("");
    Ok(())
}

async fn echo(task: &Task) -> Outcome {
    let (client, mut events) = connect(task, 0).await?;
    let payload = wire::payload(task.size);
    client.subscribe(ECHO, QoS::AtMostOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    let mut latencies = Latencies::default();
    let watch = Watch::start();
    for _ in 0..task.count + Latencies::WARM_UP {
        let start = Instant::now();
        client.publish(ECHO, QoS::AtMostOnce, false, payload.clone()).await?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::Publish(_))) {}
        latencies.add(start);
    }
    watch.report(&latencies.report());
    Ok(())
}
