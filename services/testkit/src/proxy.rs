//! A TCP proxy between two parts that misbehaves on command, as networks do.
//!
//! A service gets the proxy's address in place of the part's. The proxy knows nothing of what it passes. A change of
//! [`Mode`] meets the connections that are open, too; dropping the proxy cuts them all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much is read at once; small enough that a delay meets a long body several times.
const CHUNK: usize = 16 * 1024;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Passes everything.
    #[default]
    Pass,
    /// Resets whoever connects. What is open stays open.
    Refuse,
    /// Holds everything back and says nothing; what was held back goes on in the next mode.
    Blackhole,
    /// Passes every piece this much later.
    Delay(Duration),
    /// Passes this many bytes of each direction of a connection, then resets it.
    Halve(u64),
    /// Passes this many bytes of each direction of a connection; the rest goes on in the next mode. Set again and again, it
    /// lets somebody go on step by step.
    Ration(u64),
    /// Passes everything but a piece that has this text in it, as the beginning of a request may: that connection waits
    /// there for the next mode, or for its end by a cut.
    HoldAt(&'static str),
}

impl Mode {
    /// One of those that disturb.
    pub fn random(chance: &mut impl Rng) -> Self {
        match chance.random_range(0..4) {
            0 => Self::Refuse,
            1 => Self::Blackhole,
            2 => Self::Delay(Duration::from_millis(chance.random_range(5..300))),
            _ => Self::Halve(chance.random_range(0..20_000)),
        }
    }
}

/// What connections look at: the mode, and how often everything was cut.
#[derive(Debug, Clone, Copy, Default)]
struct Command {
    mode: Mode,
    /// Rises with every change of the mode, so that bytes are counted from there.
    changes: u64,
    cuts: u64,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    held: AtomicUsize,
    accepted: AtomicU64,
    passed: AtomicU64,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    command: watch::Sender<Command>,
    counts: Arc<Counts>,
    _accepts: JoinSet<()>,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1. The target need not be there yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (command, commands) = watch::channel(Command::default());
        let counts = Arc::new(Counts::default());
        let mut accepts = JoinSet::new();
        accepts.spawn(accept(listener, target, commands, Arc::clone(&counts)));
        Ok(Self {
            address,
            command,
            counts,
            _accepts: accepts,
        })
    }

    /// Where to connect instead of to the target.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open and new connections.
    pub fn set(&self, mode: Mode) {
        self.command.send_modify(|command| {
            command.mode = mode;
            command.changes += 1;
        });
    }

    /// Resets every open connection. New ones are treated by the mode.
    pub fn cut(&self) {
        self.command.send_modify(|command| command.cuts += 1);
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// How many connections wait at the text of [`Mode::HoldAt`].
    #[must_use]
    pub fn held(&self) -> usize {
        self.counts.held.load(Ordering::Relaxed)
    }

    /// How many connections there ever were.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// How many bytes it ever passed, both directions together.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.counts.passed.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, commands: watch::Receiver<Command>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                counts.accepted.fetch_add(1, Ordering::Relaxed);
                if commands.borrow().mode == Mode::Refuse {
                    reset(&client);
                    continue;
                }
                connections.spawn(serve(client, target, commands.clone(), Arc::clone(&counts)));
            }
            // Takes what has ended out of the set.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whoever is at the other end reads an error instead of an end.
fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    _ = stream.set_zero_linger();
}

async fn serve(client: TcpStream, target: SocketAddr, commands: watch::Receiver<Command>, counts: Arc<Counts>) {
    let Ok(server) = TcpStream::connect(target).await else {
        reset(&client);
        return;
    };
    for stream in [&client, &server] {
        // Both are loopback sockets; without it small answers would wait for acknowledgements.
        _ = stream.set_nodelay(true);
        reset(stream);
    }
    let _open = Counted::new(&counts.open);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // An end in one direction lets the other finish; a cut ends both.
    let one = pump(from_client, to_server, commands.clone(), &counts);
    let other = pump(from_server, to_client, commands, &counts);
    tokio::pin!(one, other);
    tokio::select! {
        ended = &mut one => if ended == Ended::Politely { other.await; },
        ended = &mut other => if ended == Ended::Politely { one.await; },
    }
}

/// Counts something as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The end of the stream was passed on.
    Politely,
    /// By command, or because one side broke.
    Cut,
}

/// Passes one direction on.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut commands: watch::Receiver<Command>,
    counts: &Counts,
) -> Ended {
    let mut last = *commands.borrow_and_update();
    let (mut counted, mut buffer) = (0, vec![0; CHUNK]);
    loop {
        let room = match last.mode {
            Mode::Blackhole => 0,
            Mode::Ration(limit) => usize::try_from(limit - counted).map_or(CHUNK, |left| left.min(CHUNK)),
            _ => CHUNK,
        };
        let read = tokio::select! {
            biased;
            changed = commands.changed() => {
                let now = *commands.borrow_and_update();
                if changed.is_err() || now.cuts != last.cuts {
                    return Ended::Cut;
                }
                if now.changes != last.changes {
                    counted = 0;
                }
                last = now;
                continue;
            }
            read = from.read(&mut buffer[..room]), if room > 0 => read,
        };
        let Ok(read) = read else { return Ended::Cut };
        if read == 0 {
            return to.shutdown().await.map_or(Ended::Cut, |()| Ended::Politely);
        }
        match last.mode {
            Mode::Delay(delay) => tokio::time::sleep(delay).await,
            Mode::HoldAt(text) if has(&buffer[..read], text) => {
                let _held = Counted::new(&counts.held);
                let other = |now: &Command| now.changes != last.changes || now.cuts != last.cuts;
                let now = commands.wait_for(other).await.map(|now| *now);
                // A cut takes what was held with it: whoever sent it may be gone.
                if now.is_ok_and(|now| now.cuts == last.cuts) {
                    // Looked at before the next piece.
                    commands.mark_changed();
                } else {
                    return Ended::Cut;
                }
            }
            _ => {}
        }
        let allowed = match last.mode {
            Mode::Halve(limit) => usize::try_from(limit.saturating_sub(counted)).map_or(read, |left| left.min(read)),
            _ => read,
        };
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < read {
            return Ended::Cut;
        }
        counted += allowed as u64;
        counts.passed.fetch_add(allowed as u64, Ordering::Relaxed);
    }
}

fn has(piece: &[u8], text: &str) -> bool {
    piece.windows(text.len()).any(|part| part == text.as_bytes())
}
