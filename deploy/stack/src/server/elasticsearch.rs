//! Elasticsearch as a single node.
//!
//! Two processes: a launcher, which this library starts, and the server itself, which the pid file names. Killing the
//! launcher makes the server shut down cleanly, so [`Elasticsearch::kill9`] goes for the server.
//!
//! As root the server runs as the unprivileged user (it refuses root), so its folder must be one that this user can
//! reach: not below a home of mode 0700.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;

use super::{Options, Running, START, STOP, answers};
use crate::ports;
use crate::process::{Identity, Process, wait_until};
use crate::provision::{Distribution, UNPRIVILEGED};

/// The user of a server with [`Security`], who may everything, and the password.
pub const ADMIN: (&str, &str) = ("admin", "a-password");

/// The password as Elasticsearch keeps it in its file of users.
const HASH: &str =
    "{PBKDF2}10000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=$ckJAtZAlL5oKBDp3CfSMgH/Mm5fthVfKsr62na12SPQ=";

/// TLS and a login, for tests of what needs them. As PEM.
#[derive(Debug, Clone)]
pub struct Security {
    /// Its certificate, for 127.0.0.1.
    pub certificate: String,
    /// The certificate's key.
    pub key: String,
}

/// What an Elasticsearch needs to start.
#[derive(Debug, Clone)]
pub struct ElasticsearchOptions {
    /// The unpacked server and its Java.
    pub distribution: Distribution,
    /// The folder for configuration, data, snapshots (`path.repo`) and the log (`elasticsearch.log`); created if missing.
    pub dir: PathBuf,
    /// HTTP port on 127.0.0.1, 0 for a free one.
    pub port: u16,
    /// Java heap in MB; 512 MB serve hundreds of small test indices.
    pub heap_mb: u32,
    /// Without it everyone on this machine may everything.
    pub security: Option<Security>,
}

impl ElasticsearchOptions {
    /// A server on a free port with 512 MB of heap.
    #[must_use]
    pub fn new(distribution: Distribution, dir: impl Into<PathBuf>) -> Self {
        Self {
            distribution,
            dir: dir.into(),
            port: 0,
            heap_mb: 512,
            security: None,
        }
    }
}

/// A running Elasticsearch; ready once its cluster can be read and written. What [`Running::detach`] identifies is the
/// launcher: ending it ends the server cleanly.
pub type Elasticsearch = Running<ElasticsearchOptions>;

impl Elasticsearch {
    /// Its address, `http://127.0.0.1:<port>`, or `https` with [`Security`].
    #[must_use]
    pub fn url(&self) -> String {
        match self.options.security {
            Some(_) => format!("https://127.0.0.1:{}", self.port()),
            None => url(self.port()),
        }
    }

    /// Process id of the server itself, not of its launcher.
    ///
    /// # Errors
    /// The server does not run.
    pub fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(pid_file(&self.options.dir)).context("Elasticsearch does not run")?;
        text.trim().parse().context("Elasticsearch wrote no pid")
    }

    /// Process id of the launcher: a polite signal to it ends the server cleanly.
    #[must_use]
    pub fn launcher_pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills the server itself without warning (SIGKILL), as a crash does, and waits for its launcher's end.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill9(&mut self) -> Result<()> {
        let server = Identity::of(self.pid()?).context("Elasticsearch does not run")?;
        server.signal(Signal::KILL);
        wait_until(STOP, || self.process.has_ended());
        self.process.kill();
        Ok(())
    }
}

impl Options for ElasticsearchOptions {
    fn port(&self) -> u16 {
        self.port
    }

    fn on(&self, port: u16) -> Result<Self> {
        Ok(Self { port, ..self.clone() })
    }

    fn launch(&self) -> Result<Process> {
        prepare(self).with_context(|| format!("cannot prepare {}", self.dir.display()))?;
        let mut process = Process::start("elasticsearch", command(self), &self.log())?;
        let health = format!("{}/_cluster/health?wait_for_status=yellow&timeout=1s", url(self.port));
        let log = self.log();
        process.wait_ready(START, || match self.security {
            None => answers(&health),
            // Whom it lets in and why they trust it is the test's.
            Some(_) => {
                fs::read_to_string(&log).is_ok_and(|log| log.contains("[o.e.n.Node") && log.contains("] started"))
            }
        })?;
        Ok(process)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("elasticsearch.log")
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn pid_file(dir: &Path) -> PathBuf {
    dir.join("run/pid")
}

fn command(options: &ElasticsearchOptions) -> Command {
    let program = options.distribution.home.join("bin/elasticsearch");
    let mut command = match unprivileged() {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([
                format!("--reuid={user}"),
                format!("--regid={user}"),
                "--clear-groups".to_owned(),
            ]);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg("-p").arg(pid_file(&options.dir)).current_dir(&options.dir);
    // Whatever Java the caller's shell is set up for must not reach the server.
    for leaked in [
        "JAVA_HOME",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JAVA_OPTS",
        "ES_HOME",
        "CLI_JAVA_OPTS",
    ] {
        command.env_remove(leaked);
    }
    command.env("ES_JAVA_HOME", &options.distribution.java_home);
    command.env(
        "ES_JAVA_OPTS",
        format!("-Xms{0}m -Xmx{0}m -XX:-AlwaysPreTouch", options.heap_mb),
    );
    command
        .env("ES_PATH_CONF", options.dir.join("config"))
        .env("ES_TMPDIR", options.dir.join("tmp"));
    command
}

fn unprivileged() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(UNPRIVILEGED)
}

/// Writes the configuration and gives the folder to the user who will run the server.
fn prepare(options: &ElasticsearchOptions) -> Result<()> {
    let dir = &options.dir;
    for folder in ["config/jvm.options.d", "data", "snapshots", "tmp", "run", "logs"] {
        fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot create {folder}"))?;
    }
    let shipped = options.distribution.home.join("config");
    fs::copy(shipped.join("jvm.options"), dir.join("config/jvm.options")).context("cannot copy jvm.options")?;
    fs::write(dir.join("config/log4j2.properties"), LOGGING).context("cannot write log4j2.properties")?;
    fs::write(dir.join("config/elasticsearch.yml"), settings(options)?).context("cannot write elasticsearch.yml")?;
    if let Some(security) = &options.security {
        write_security(security, &dir.join("config"))?;
    }
    // A pid file of an earlier run would name somebody else's process.
    let _ = fs::remove_file(pid_file(dir));
    match unprivileged() {
        Some(user) => hand_over(dir, user),
        None => Ok(()),
    }
}

fn write_security(security: &Security, config: &Path) -> Result<()> {
    let (admin, _) = ADMIN;
    let files = [
        ("node.crt", security.certificate.clone()),
        ("node.key", security.key.clone()),
        ("users", format!("{admin}:{HASH}\n")),
        ("users_roles", format!("superuser:{admin}\n")),
    ];
    for (name, content) in files {
        fs::write(config.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Makes the unprivileged user the owner of the folder's first two levels; what it writes below is its own anyway.
fn hand_over(dir: &Path, user: u32) -> Result<()> {
    let absolute = dir.canonicalize().context("cannot resolve the folder")?;
    let closed = absolute
        .ancestors()
        .skip(1)
        .find(|above| !crate::provision::enterable(above));
    if let Some(closed) = closed {
        bail!(
            "{} is closed to other users, and Elasticsearch refuses to run as root",
            closed.display()
        );
    }
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    let own = |path: &Path| rustix::fs::chown(path, Some(uid), Some(gid)).with_context(|| path.display().to_string());
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).context("cannot open the folder")?;
    own(dir)?;
    for folder in [
        "config",
        "config/jvm.options.d",
        "data",
        "snapshots",
        "tmp",
        "run",
        "logs",
    ] {
        own(&dir.join(folder))?;
    }
    for file in ["jvm.options", "log4j2.properties", "elasticsearch.yml"] {
        own(&dir.join("config").join(file))?;
    }
    Ok(())
}

/// Everything goes to standard output, hence to the one log.
const LOGGING: &str = "\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

const OPEN: &str = "\
# Without passwords: it listens on loopback only.
xpack.security.enabled: false
";

const SECURED: &str = "\
xpack.security.enabled: true
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.certificate: node.crt
xpack.security.http.ssl.key: node.key
";

fn settings(options: &ElasticsearchOptions) -> Result<String> {
    let quoted = |path: PathBuf| serde_json::Value::from(path.display().to_string());
    let (port, dir) = (options.port, &options.dir);
    // Nothing connects to the transport port of a single node, but it must have one.
    let transport = ports::free()?;
    Ok(format!(
        "cluster.name: bugstream\n\
         discovery.type: single-node\n\
         network.host: 127.0.0.1\n\
         http.port: {port}\n\
         transport.port: {transport}\n\
         path.data: {data}\n\
         path.logs: {logs}\n\
         path.repo: {repo}\n\
         {security}\
         # On a nearly full disk it would refuse writes, and a workstation's disk is often nearly full.\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n\
         # One shared server holds the small indices of every test of a run.\n\
         cluster.max_shards_per_node: 10000\n",
        data = quoted(dir.join("data")),
        logs = quoted(dir.join("logs")),
        repo = quoted(dir.join("snapshots")),
        security = if options.security.is_some() { SECURED } else { OPEN },
    ))
}
