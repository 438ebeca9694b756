use std::iter;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use jsonwebtoken::{EncodingKey, Header, encode};
use notification_loadgen::{Connection, Receivers};
use serde_json::json;
use tempfile::TempDir;

use crate::figures::{Figures, figure};
use crate::process::{Meter, Used};
use crate::publish;
use crate::server::{Durability, Server};
use crate::setup::Setup;

/// How often each way has its turn.
const ROUNDS: u32 = 10;

/// How often where streams are opened, which leaves as many closed connections behind.
const OPENING_ROUNDS: u32 = 5;

/// What the operator made up, to create a key with.
const ADMIN_KEY: &str = "a-key-that-only-a-server-of-the-bench-takes";

/// What signs tokens for a server of the bench's own.
const SECRET: &str = "a-secret-that-only-a-server-of-the-bench-knows";

const ISSUER: &str = "https://bench.example";
const AUDIENCE: &str = "notification-bench";

/// What the key and the token allow: what is measured, and to see when all are gone.
const GRANTS: [&str; 3] = ["publish:**", "subscribe:**", "connections:read"];

/// What it costs to know who asks, and to count what they do: one load, on four
/// servers that are started in different ways, in turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) load: Load,
    /// For how long each server is measured, where messages are published.
    pub(crate) duration: Duration,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// So many publishers in a closed loop.
    Publish { publishers: usize },
    /// So many streams are opened, again and again.
    Open { streams: usize },
}

/// How a server is started, and asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nobody has to say who they are.
    Open,
    /// Whoever asks brings a key.
    Key,
    /// Whoever asks brings a token, which the server has verified before.
    Token,
    /// A key, and everything is counted, though never too much.
    Limits,
}

/// The names of one figure of each way, and of what it is of another's.
struct Names {
    of: [&'static str; Way::ALL.len()],
    ratios: [(&'static str, Way, Way); 3],
}

macro_rules! names {
    ($what:literal) => {
        Names {
            of: [
                concat!("open: ", $what),
                concat!("key: ", $what),
                concat!("token: ", $what),
                concat!("limits: ", $what),
            ],
            ratios: [
                (concat!("key ÷ open: ", $what), Way::Key, Way::Open),
                (concat!("token ÷ open: ", $what), Way::Token, Way::Open),
                (concat!("limits ÷ key: ", $what), Way::Limits, Way::Key),
            ],
        }
    };
}

const PUBLISHES: Names = names!("publishes/s");
const PUBLISH_CPU: Names = names!("server CPU µs/publish");
const OPENS: Names = names!("opens/s");
const OPEN_CPU: Names = names!("server CPU µs/open");

impl Access {
    /// How many it has open at a time.
    pub(crate) fn connections(&self) -> usize {
        match self.load {
            Load::Publish { publishers } => publishers * Way::ALL.len(),
            Load::Open { streams } => streams,
        }
    }

    /// The figures that are drawn beside each other.
    pub(crate) fn drawn(&self) -> [&'static str; Way::ALL.len()] {
        self.names()[1].of
    }

    /// Of the rate, and of the processor time.
    fn names(&self) -> [Names; 2] {
        match self.load {
            Load::Publish { .. } => [PUBLISHES, PUBLISH_CPU],
            Load::Open { .. } => [OPENS, OPEN_CPU],
        }
    }

    /// All four run from the beginning to the end, and only one has something to
    /// do at a time: what disturbs the machine for a while disturbs all of them.
    pub(crate) fn measure(&self, setup: &Setup) -> anyhow::Result<Figures> {
        let dir = TempDir::with_prefix_in("notification-bench-", &setup.data_parent)?;
        let servers: Vec<_> = Way::ALL
            .into_iter()
            .map(|way| way.start(setup, dir.path()).with_context(|| way.name()))
            .collect::<anyhow::Result<_>>()?;
        let mut turns: Vec<_> = servers
            .iter()
            .map(|server| Turns::new(self.load, server))
            .collect::<anyhow::Result<_>>()?;
        let rounds = match self.load {
            Load::Publish { .. } => ROUNDS,
            Load::Open { .. } => OPENING_ROUNDS,
        };
        // Where a round begins is another in each, so that none always follows the same.
        for round in 0..=rounds {
            for turn in 0..turns.len() {
                let turn = (turn + round as usize) % Way::ALL.len();
                turns[turn].take(self.duration / rounds)?;
            }
            if round == 0 {
                // The first has warmed everything up, and had the token verified.
                turns
                    .iter_mut()
                    .for_each(|turns| turns.so_far = Done::default());
            }
        }
        Ok(self.figures(&turns))
    }

    fn figures(&self, turns: &[Turns<'_>]) -> Figures {
        let values = [Done::rate as fn(&Done) -> f64, Done::server_us];
        let mut figures = Figures::new();
        for (names, value) in self.names().into_iter().zip(values) {
            let value = |way: Way| value(&turns[way as usize].so_far);
            let ways = Way::ALL.into_iter().zip(names.of);
            figures.extend(ways.map(|(way, name)| figure(name, value(way))));
            let ratios = names.ratios.into_iter();
            figures.extend(ratios.map(|(name, of, to)| figure(name, value(of) / value(to))));
        }
        let mut all = Done::default();
        turns.iter().for_each(|turns| all.add(turns.so_far));
        figures.extend(all.used.shares(all.elapsed));
        figures
    }
}

/// What one server has done in its turns.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// How many messages were published, or streams opened.
    count: u64,
    elapsed: Duration,
    used: Used,
}

impl Done {
    fn add(&mut self, more: Self) {
        self.count += more.count;
        self.elapsed += more.elapsed;
        self.used += more.used;
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    fn server_us(&self) -> f64 {
        self.used.server.as_secs_f64() * 1e6 / self.count as f64
    }
}

/// The turns of one server.
struct Turns<'a> {
    server: &'a Server,
    load: Driver,
    so_far: Done,
}

enum Driver {
    /// Over connections that are kept from turn to turn.
    Publish(Box<publish::Load>),
    Open(usize),
}

impl<'a> Turns<'a> {
    fn new(load: Load, server: &'a Server) -> anyhow::Result<Self> {
        let load = match load {
            Load::Publish { publishers } => {
                Driver::Publish(Box::new(publish::Load::new(server.target(), publishers)?))
            }
            Load::Open { streams } => Driver::Open(streams),
        };
        Ok(Self {
            server,
            load,
            so_far: Done::default(),
        })
    }

    /// One more; of so long, if it is not over sooner by itself.
    fn take(&mut self, duration: Duration) -> anyhow::Result<()> {
        let meter = Meter::start(self.server.processes())?;
        let started = Instant::now();
        let done = |count| {
            anyhow::Ok(Done {
                count,
                elapsed: started.elapsed(),
                used: meter.used()?,
            })
        };
        self.so_far.add(match &mut self.load {
            Driver::Publish(load) => {
                let before = load.published;
                load.run(started + duration)?;
                done(load.published - before)?
            }
            Driver::Open(streams) => {
                let paths = iter::repeat_n("/v1/stream", *streams);
                let receivers = Receivers::open(self.server.target(), paths)?;
                let opened = done(*streams as u64)?;
                drop(receivers);
                self.server.wait_until_nobody_is_there()?;
                opened
            }
        });
        Ok(())
    }
}

impl Way {
    const ALL: [Self; 4] = [Self::Open, Self::Key, Self::Token, Self::Limits];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Key => "key",
            Self::Token => "token",
            Self::Limits => "limits",
        }
    }

    /// Starts a server, which finds in `dir` what it has to know.
    fn start(self, setup: &Setup, dir: &Path) -> anyhow::Result<Server> {
        let settings = self.settings(dir)?;
        let server = setup.server(Durability::Memory, &settings)?;
        Ok(match self {
            Self::Open => server,
            Self::Key | Self::Limits => {
                let key = create_key(&server)?;
                server.with_bearer(&key)
            }
            Self::Token => server.with_bearer(&token()?),
        })
    }

    fn settings(self, dir: &Path) -> anyhow::Result<String> {
        // Far above what is done in a second here.
        let (count, bytes) = match self {
            Self::Limits => (1_000_000, 1_000_000_000),
            Self::Open | Self::Key | Self::Token => (0, 0),
        };
        let limits = ["total", "principal"].map(|of| {
            format!(
                "[limits.{of}]\nrequests_per_second = {count}\nevents_per_second = {count}\n\
                 bytes_per_second = {bytes}\nstreams = {count}\n"
            )
        });
        let auth = match self {
            Self::Open => String::new(),
            Self::Key | Self::Limits => {
                let file = file(dir, "admin.key", ADMIN_KEY)?;
                format!("[auth]\nadmin_key_file = {file}\n")
            }
            // No client: a stream of one is another than those of the other ways.
            Self::Token => {
                let file = file(dir, "tokens.secret", SECRET)?;
                format!(
                    "[auth.jwt]\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\n\
                     secret_file = {file}\nclient_claim = \"\"\n"
                )
            }
        };
        Ok(limits.concat() + &auth)
    }
}

/// Writes a file, and returns its path as TOML has it.
fn file(dir: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let path = path.to_str().context("--data-dir: expected UTF-8")?;
    // JSON's strings are TOML's.
    Ok(json!(path).to_string())
}

fn create_key(server: &Server) -> anyhow::Result<String> {
    let target = server.target().clone().with_bearer(ADMIN_KEY);
    let body = json!({"name": "bench", "allow": GRANTS}).to_string();
    let request = format!(
        "POST /v1/keys HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        target.headers(),
        body.len()
    );
    let created = Connection::open(&target)?.publish_for_answer(request.as_bytes())?;
    let key = created["key"].as_str().map(str::to_owned);
    key.context("the answer to creating a key has none")
}

/// Good for a day, signed by HS256.
fn token() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "bench",
        "exp": now + 24 * 60 * 60,
        "scope": GRANTS.join(" "),
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    Ok(encode(&Header::default(), &claims, &key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_after_their_way() {
        for names in [PUBLISHES, PUBLISH_CPU, OPENS, OPEN_CPU] {
            for (way, name) in Way::ALL.into_iter().zip(names.of) {
                assert!(name.starts_with(&format!("{}: ", way.name())), "{name}");
            }
            for (name, of, to) in names.ratios {
                let ways = format!("{} ÷ {}: ", of.name(), to.name());
                assert!(name.starts_with(&ways), "{name}");
            }
        }
    }

    #[test]
    fn turns_are_added_up() {
        let turn = Done {
            count: 500,
            elapsed: Duration::from_millis(100),
            used: Used {
                server: Duration::from_millis(50),
                ..Used::default()
            },
        };
        let mut all = Done::default();
        all.add(turn);
        all.add(turn);
        assert_eq!((all.rate(), all.server_us()), (5_000.0, 100.0));
    }
}
