//! `mqtt-lua`: runs a NodeMCU script on this machine as the device would. Its modules are globals, and after the last
//! line the event loop runs by itself until nothing is left that could call back.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use mlua::{Function, Lua, Table, Variadic};
use mqtt::broker::{Broker, BrokerOptions};
use mqtt::lua::{self, Options, Route, Routes};

/// Runs a NodeMCU script on this machine: mqtt, tmr and node are globals, and the event loop runs by itself after the
/// last line.
#[derive(Parser)]
#[command(name = "mqtt-lua", version, max_term_width = 100)]
struct Cli {
    /// Start the embedded broker on 127.0.0.1 first: on this port, or on 1883. With 0 the system chooses.
    ///
    /// Without a port, and with 1883 taken, it listens on a free port, to which connects to 127.0.0.1:1883 and
    /// localhost:1883 are led.
    #[arg(long, value_name = "PORT", require_equals = true, num_args = 0..=1)]
    broker: Option<Option<u16>>,

    /// Lead connects to FROM (host, host:port or *) to TO (host:port, mqtt://host:port or mqtts://host:port). The first that
    /// fits counts.
    ///
    /// host:port leaves TLS and WebSocket to the script, and the certificate has to be that of FROM; mqtt:// takes them
    /// off, mqtts:// puts TLS on.
    #[arg(long, value_name = "FROM=TO")]
    map: Vec<Route>,

    /// Apply this Mongoose OS configuration (JSON) before the script, which gets mgos_mqtt and MQTT as globals.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,

    /// Print a line per packet on standard error.
    #[arg(long)]
    trace: bool,

    /// The script, or - for standard input.
    script: String,

    /// The script's arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Where a broker listens unless told otherwise.
const MQTT_PORT: u16 = 1883;

/// The status of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("mqtt-lua: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), String> {
    exit_on_interrupt().map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let mut routes = Routes::new(cli.map);
    // Dropped after the Lua state, which says goodbye to it.
    let _broker = cli.broker.map(|port| start_broker(port, &mut routes)).transpose()?;

    // SAFETY: the one thing that `unsafe_new` allows beyond `new` is to load C modules, as every stock interpreter does:
    // scripts are trusted as programs are.
    #[allow(unsafe_code)]
    let lua = unsafe { Lua::unsafe_new() };
    furnish(&lua, routes, cli.config.is_some()).map_err(|error| error.to_string())?;
    let path = (cli.script != "-").then(|| cli.script.clone());
    let problem: Option<String> = lua
        .load(include_str!("mqtt-lua/main.lua"))
        .set_name("=mqtt-lua")
        .call((path, cli.script, cli.trace, cli.config, Variadic::from_iter(cli.arguments)))
        .map_err(|error| error.to_string())?;
    problem.map_or(Ok(()), Err)
}

/// The Lua modules that the runner brings along, with their places in `lua/`.
const EMBEDDED: [(&str, &str, &str); 5] = [
    ("api_mqtt", "@api_mqtt.lua", include_str!("../../lua/api_mqtt.lua")),
    ("mgos_mqtt", "@mgos_mqtt.lua", include_str!("../../lua/mgos_mqtt.lua")),
    ("mqtt.test", "@mqtt/test.lua", include_str!("../../lua/mqtt/test.lua")),
    ("nodemcu.mqtt", "@nodemcu/mqtt.lua", include_str!("../../lua/nodemcu/mqtt.lua")),
    ("nodemcu.node", "@nodemcu/node.lua", include_str!("../../lua/nodemcu/node.lua")),
];

/// Gives the state what a device has; one of Mongoose OS has more.
fn furnish(lua: &Lua, map: Routes, mongoose: bool) -> mlua::Result<()> {
    let globals = lua.globals();
    let package: Table = globals.get("package")?;
    let preload: Table = package.get("preload")?;
    for (name, place, source) in EMBEDDED {
        preload.set(name, lua.load(source).set_name(place).into_function()?)?;
    }
    let require: Function = globals.get("require")?;
    let node: Table = require.call("nodemcu.node")?;
    let chip_id = node.get::<Function>("chipid")?.call(())?;

    let mqtt = lua::open(lua, Options { chip_id: Some(chip_id), map })?;
    let tmr = lua::open_tmr(lua)?;
    // In `loaded`, so that no file of that name is found in their place.
    let loaded: Table = package.get("loaded")?;
    loaded.set("mqtt", &mqtt)?;
    loaded.set("mqtt.tmr", &tmr)?;
    loaded.set("mqtt.broker", lua::open_broker(lua)?)?;
    loaded.set("mqtt.test.native", lua::open_testing(lua)?)?;
    let (mgos, api) = (lua::open_mgos(lua)?, lua::open_mgos_api(lua)?);
    loaded.set("mqtt.mgos", &mgos)?;
    loaded.set("mqtt.mgos.api", &api)?;
    if mongoose {
        globals.set("mgos_mqtt", mgos)?;
        globals.set("MQTT", api)?;
    }
    globals.set("mqtt", mqtt)?;
    globals.set("tmr", tmr)?;
    globals.set("node", node)
}

/// Has Ctrl-C end the process the way `os.exit` does, from whatever the script is doing: the exit handler of the client
/// says goodbye to the brokers.
fn exit_on_interrupt() -> std::io::Result<()> {
    let (mut interrupts, handler) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, handler)?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        if interrupts.read_exact(&mut [0]).is_ok() {
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// `--broker[=PORT]`.
fn start_broker(port: Option<u16>, routes: &mut Routes) -> Result<Broker, String> {
    let start = |port| Broker::start(BrokerOptions { port, ..BrokerOptions::default() });
    let cannot = |port, error| format!("cannot start the broker on 127.0.0.1:{port}: {error}");
    match port {
        Some(0) => {
            let broker = start(0).map_err(|error| cannot(0, error))?;
            eprintln!("mqtt-lua: the broker listens on 127.0.0.1:{}", broker.port());
            Ok(broker)
        }
        Some(port) => start(port).map_err(|error| cannot(port, error)),
        None => match start(MQTT_PORT) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let broker = start(0).map_err(|error| cannot(0, error))?;
                let port = broker.port();
                eprintln!(
                    "mqtt-lua: port 1883 is taken: the broker listens on 127.0.0.1:{port}, and connects to \
                     127.0.0.1:1883 and localhost:1883 are led there"
                );
                routes.lead_default_to(port);
                Ok(broker)
            }
            result => result.map_err(|error| cannot(MQTT_PORT, error)),
        },
    }
}
