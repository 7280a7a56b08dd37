//! `mqtt-lua`: runs a NodeMCU script on this machine as the device would. Its modules are globals, and after the last
//! line the event loop runs by itself until nothing is left that could call back.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mlua::{Function, Lua, Table, Value};
use mqtt::broker::{Broker, BrokerOptions};
use mqtt::lua::{self, Options, Route, Routes};

/// Runs a NodeMCU script on this machine: the device's modules are globals, and the event loop runs by itself after the
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
    /// Run this file first, in the same globals: settings, values of sensors.
    #[arg(long, value_name = "FILE.lua")]
    env: Option<String>,

    /// What node.chipid() is: a decimal number, or a hexadecimal one behind 0x.
    #[arg(long, value_name = "N", value_parser = chip_id)]
    chipid: Option<u32>,

    /// Have mqtt behave as on this chip, where that differs from its manual.
    #[arg(long, value_name = "CHIP", value_parser = ["esp8266", "esp32"])]
    profile: Option<String>,

    /// The folder that file.open and its like are confined to. The current one unless told otherwise.
    #[arg(long, value_name = "DIR")]
    root: Option<String>,

    /// Have node.dsleep sleep and start the script again, instead of ending the run.
    #[arg(long)]
    awake: bool,

    /// Print a line per packet on standard error.
    #[arg(long)]
    trace: bool,

    /// Say more of what happens; twice: even more.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,

    /// The script, or - for standard input.
    script: String,

    /// The script's arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// `--chipid`.
fn chip_id(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
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

fn run(mut cli: Cli) -> Result<(), String> {
    exit_on_interrupt().map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let mut routes = Routes::new(std::mem::take(&mut cli.map));
    // Dropped after the Lua state, which says goodbye to it.
    let _broker = cli.broker.map(|port| start_broker(port, &mut routes)).transpose()?;
    // It can be read once, and the script may start again.
    let source = match cli.script.as_str() {
        "-" => {
            let mut source = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut source);
            read.map_err(|error| format!("cannot read standard input: {error}"))?;
            Some(source)
        }
        _ => None,
    };

    let mut start = Start::default();
    let mut pace = Pace::default();
    loop {
        pace.hold(&cli);
        let end = boot(&cli, &routes, source.as_deref(), start)?;
        match end.kind.as_deref() {
            None => return Ok(()),
            Some("restart") => start = Start { boot: [2, 4], retained: end.retained },
            Some(_) if !cli.awake => {
                say(&cli, &format!("deep sleep for {}: the run ends here", Sleep(end.micros)));
                return Ok(());
            }
            Some(_) if end.micros == 0.0 => return Ok(()),
            Some(_) => {
                thread::sleep(Duration::from_secs_f64(end.micros / 1e6));
                start = Start { boot: [2, 5], retained: end.retained };
            }
        }
    }
}

/// How the device starts.
struct Start {
    /// What `node.bootreason` returns.
    boot: [i32; 2],
    /// The numbers of `rtcmem` that are not 0.
    retained: HashMap<u8, i32>,
}

impl Default for Start {
    /// Power on.
    fn default() -> Start {
        Start { boot: [1, 0], retained: HashMap::new() }
    }
}

/// How a boot ended.
struct End {
    /// None: there was nothing left to do.
    kind: Option<String>,
    /// To sleep; 0 is for ever.
    micros: f64,
    retained: HashMap<u8, i32>,
}

/// One life of the script, in a Lua state of its own.
fn boot(cli: &Cli, routes: &Routes, source: Option<&[u8]>, start: Start) -> Result<End, String> {
    // SAFETY: the one thing that `unsafe_new` allows beyond `new` is to load C modules, as every stock interpreter does:
    // scripts are trusted as programs are.
    #[allow(unsafe_code)]
    let lua = unsafe { Lua::unsafe_new() };
    let prepare = || {
        let options = Options {
            chip_id: cli.chipid,
            map: routes.clone(),
            as_esp8266: cli.profile.as_deref() != Some("esp32"),
        };
        let chip_id = furnish(&lua, options, cli.config.is_some())?;
        let told = lua.create_table()?;
        told.raw_set("path", source.is_none().then_some(cli.script.as_str()))?;
        told.raw_set("name", cli.script.as_str())?;
        told.raw_set("source", source.map(|source| lua.create_string(source)).transpose()?)?;
        told.raw_set("arguments", cli.arguments.as_slice())?;
        told.raw_set("environment", cli.env.as_deref())?;
        told.raw_set("config", cli.config.as_deref())?;
        told.raw_set("root", cli.root.as_deref())?;
        told.raw_set("profile", cli.profile.as_deref())?;
        told.raw_set("trace", cli.trace)?;
        told.raw_set("loudness", if cli.quiet { -1 } else { i32::from(cli.verbose) })?;
        told.raw_set("chipid", chip_id)?;
        told.raw_set("boot", start.boot)?;
        told.raw_set("retained", start.retained)?;
        Ok(told)
    };
    let told: Table = prepare().map_err(|error: mlua::Error| error.to_string())?;
    let (problem, kind, micros, retained): (Option<String>, _, Option<f64>, Option<_>) = lua
        .load(include_str!("mqtt-lua/main.lua"))
        .set_name("=mqtt-lua")
        .call(told)
        .map_err(|error| error.to_string())?;
    match problem {
        Some(problem) => Err(problem),
        None => Ok(End { kind, micros: micros.unwrap_or(0.0), retained: retained.unwrap_or_default() }),
    }
}

/// Slows a script that does nothing but start again.
#[derive(Default)]
struct Pace {
    began: Option<Instant>,
    /// The boot before came soon after the one before that.
    hurried: bool,
    warned: bool,
}

impl Pace {
    /// The shortest time between two starts, but for the first restart.
    const SHORTEST: Duration = Duration::from_secs(1);

    /// Waits until the script may start.
    fn hold(&mut self, cli: &Cli) {
        if let Some(began) = self.began {
            let left = Pace::SHORTEST.saturating_sub(began.elapsed());
            if !left.is_zero() && self.hurried {
                if !self.warned {
                    say(cli, "the script starts again and again: once per second from here on");
                    self.warned = true;
                }
                thread::sleep(left);
            }
            self.hurried = !left.is_zero();
        }
        self.began = Some(Instant::now());
    }
}

/// Says something, unless told to be quiet.
fn say(cli: &Cli, text: &str) {
    if !cli.quiet {
        eprintln!("mqtt-lua: {text}");
    }
}

/// The length of a deep sleep, for people.
struct Sleep(f64);

impl fmt::Display for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("ever"),
            micros => write!(f, "{} s (--awake starts the script again then)", micros / 1e6),
        }
    }
}

/// Paths in `lua/`, names for error messages, and sources.
macro_rules! embedded {
    ($($path:literal,)*) => {
        &[$(($path, concat!("=[", $path, ".lua]"), include_str!(concat!("../../lua/", $path, ".lua")))),*]
    };
}

/// The Lua modules that the runner brings along.
#[rustfmt::skip]
const EMBEDDED: &[(&str, &str, &str)] = embedded![
    "api_mqtt", "mgos_mqtt", "mqtt/test", "mqtt/test/assertions", "mqtt/test/blame", "mqtt/test/clock",
    "mqtt/test/ends", "mqtt/test/script", "nodemcu", "nodemcu/absent", "nodemcu/adc", "nodemcu/bit", "nodemcu/chip", "nodemcu/device",
    "nodemcu/dht", "nodemcu/enduser_setup", "nodemcu/file", "nodemcu/gpio", "nodemcu/i2c",
    "nodemcu/language", "nodemcu/loading", "nodemcu/modules", "nodemcu/mqtt", "nodemcu/net", "nodemcu/node",
    "nodemcu/node_console",
    "nodemcu/profile", "nodemcu/profile_esp32", "nodemcu/profile_esp8266", "nodemcu/pwm", "nodemcu/rtcmem",
    "nodemcu/rtctime", "nodemcu/sim", "nodemcu/sjson", "nodemcu/sntp", "nodemcu/tls", "nodemcu/uart",
    "nodemcu/watchdog", "nodemcu/wifi", "nodemcu/wifi_ap", "nodemcu/wifi_events", "nodemcu/wifi_network", "nodemcu/wifi_station",
];

/// The globals of the embedded modules: a script that makes a variable of its own of `type` or `string` does them no harm,
/// as it does none to a device.
fn own_globals(lua: &Lua) -> mlua::Result<Table> {
    let own = lua.create_table()?;
    for pair in lua.globals().pairs::<Value, Value>() {
        let (name, value) = pair?;
        own.raw_set(name, value)?;
    }
    Ok(own)
}

/// Gives the state what a device has, and one of Mongoose OS has more; its chip's id.
fn furnish(lua: &Lua, mut options: Options, mongoose: bool) -> mlua::Result<u32> {
    let globals = lua.globals();
    let package: Table = globals.get("package")?;
    let preload: Table = package.get("preload")?;
    let environment = own_globals(lua)?;
    for &(path, name, source) in EMBEDDED {
        let chunk = lua.load(source).set_name(name).set_environment(environment.clone());
        preload.set(path.replace('/', "."), chunk.into_function()?)?;
    }
    let require: Function = globals.get("require")?;
    let chip_id = match options.chip_id {
        Some(chip_id) => chip_id,
        None => require.call::<Function>("nodemcu.chip")?.call(())?,
    };
    options.chip_id = Some(chip_id);

    // In `loaded`, so that no file of that name is found in their place.
    let loaded: Table = package.get("loaded")?;
    loaded.set("mqtt", lua::open(lua, options)?)?;
    loaded.set("mqtt.tmr", lua::open_tmr(lua)?)?;
    loaded.set("mqtt.sjson", lua::open_sjson(lua)?)?;
    loaded.set("mqtt.file", lua::open_file(lua)?)?;
    loaded.set("mqtt.host", lua::open_host(lua)?)?;
    loaded.set("mqtt.broker", lua::open_broker(lua)?)?;
    loaded.set("mqtt.test.native", lua::open_testing(lua)?)?;
    let (mgos, api) = (lua::open_mgos(lua)?, lua::open_mgos_api(lua)?);
    loaded.set("mqtt.mgos", &mgos)?;
    loaded.set("mqtt.mgos.api", &api)?;
    if mongoose {
        globals.set("mgos_mqtt", mgos)?;
        globals.set("MQTT", api)?;
    }
    Ok(chip_id)
}

/// Has Ctrl-C end the process the way `os.exit` does, from whatever the script is doing: the exit handler of the client
/// says goodbye to the brokers.
fn exit_on_interrupt() -> std::io::Result<()> {
    let (mut interrupts, handler) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGINT, handler)?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        if interrupts.read_exact(&mut [0]).is_ok() {
            mqtt::sys::exit_beside_a_writer(INTERRUPTED);
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
