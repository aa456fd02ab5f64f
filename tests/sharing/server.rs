//! A PostgreSQL server of one's own, from the distribution's packages: made for a test, killed and started again by it.

use crate::harness::SOON;
use postgres::{Client, NoTls};
use std::{
    env, fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The password of its only user, whose name it is, too.
const USER: &str = "ada";
/// PostgreSQL does not run as root: then it is nobody's.
const NOBODY: u32 = 65534;

/// A server, and its data; both are gone when it is dropped.
pub struct Server {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// Where the distribution has PostgreSQL's programs; `POSTGRES_BIN` is another place.
fn programs() -> Option<PathBuf> {
    let named = env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut usual: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    usual.sort();
    named.into_iter().chain(usual.into_iter().rev()).find(|bin| bin.join("initdb").exists())
}

impl Server {
    /// A server that runs; none, and that is said, where there is no PostgreSQL.
    pub fn start() -> Option<Server> {
        let Some(bin) = programs() else {
            eprintln!(
                "skipped: there is no PostgreSQL (Debian's package postgresql; POSTGRES_BIN names its folder)"
            );
            return None;
        };
        let folder = TempDir::new().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, USER).unwrap();
        if rustix::process::geteuid().is_root() {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Server { bin, folder, port, process: None };
        let made = server
            .command("initdb")
            .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--username", USER])
            .arg("--pwfile")
            .arg(&password)
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        server.run();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Starts it, anew where it ran, and waits until it answers.
    pub fn run(&mut self) {
        let deadline = Instant::now() + SOON;
        while self.try_client("postgres").is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            // What a killed one has left may still end for a moment.
            let runs = self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none());
            if !runs {
                self.process = Some(self.spawn());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn spawn(&self) -> Child {
        let mut command = self.command("postgres");
        command.stderr(Stdio::null()).arg("-D").arg(self.data());
        let port = format!("port={}", self.port);
        for setting in [&port, "listen_addresses=127.0.0.1", "unix_socket_directories="] {
            command.args(["-c", setting]);
        }
        command.spawn().unwrap()
    }

    /// Kills it, and all that it has started, as a power cut does.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Those first: without their parent they would be nobody's.
        let children = children_of(process.id());
        process.kill().unwrap();
        for child in children {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
        process.wait().unwrap();
    }

    fn try_client(&self, database: &str) -> Result<Client, postgres::Error> {
        Client::connect(&format!("{}/{database}", self.place(USER)), NoTls)
    }

    /// A connection to a database, to look behind the ledger's back; names without a schema are the ledger's.
    pub fn client(&self, database: &str) -> Client {
        let mut client = self.try_client(database).unwrap();
        client.batch_execute("SET search_path = srnas").unwrap();
        client
    }

    /// The address of a new database.
    pub fn database(&self, name: &str) -> String {
        self.client("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        format!("{}/{name}", self.place(USER))
    }

    /// The address of the server for somebody with this password.
    pub fn place(&self, password: &str) -> String {
        format!("postgres://{USER}:{password}@127.0.0.1:{}", self.port)
    }
}

/// The processes that a process has started.
fn children_of(parent: u32) -> Vec<rustix::process::Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_child = |stat: &str| {
        // Behind the name in brackets: its state and its parent.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent.to_string())
    };
    let child = |process: fs::DirEntry| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        is_child(&fs::read_to_string(process.path().join("stat")).ok()?)
            .then(|| rustix::process::Pid::from_raw(pid))?
    };
    processes.filter_map(child).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
