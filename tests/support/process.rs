//! The program as users run it: a process, its files, its log and its HTTP answers.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::{block_on, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidestream");

/// `sidestream run` in a directory of its own. Dropping it kills it.
pub struct Sidestream {
    child: Child,
    log: PathBuf,
    /// Where it serves `/health`: `http://127.0.0.1:port`.
    pub url: String,
    /// Its working directory, which holds its files.
    pub dir: TempDir,
}

/// One line of `GET /health/tasks`.
#[derive(Clone, Debug, Deserialize)]
pub struct Task {
    pub connector: String,
    pub task: usize,
    pub kind: String,
    pub plugin: String,
    /// `RUNNING`, `STALLED`, `RESTARTING`, `FAILED` or `UNASSIGNED`
    pub state: String,
    #[serde(default)]
    pub reason: String,
    /// When it came into its state.
    #[serde(default)]
    pub since: String,
    /// `exactly-once` or `at-least-once`, and why not more.
    #[serde(default)]
    pub delivery: String,
    #[serde(default)]
    pub delivery_reason: String,
}

/// Runs the program to its end, in `dir`: `sidestream(dir, &["validate", "x.yaml"], &[])`.
pub fn sidestream(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    command(dir, env).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Only what a test says is in the environment: no credentials or proxies of whoever runs the tests.
fn command(dir: &Path, env: &[(&str, &str)]) -> Command {
    command_by(&[], dir, env)
}

fn command_by(launcher: &[&str], dir: &Path, env: &[(&str, &str)]) -> Command {
    let mut words = launcher.iter().chain([&PROGRAM]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.current_dir(dir).env_clear().envs(env.iter().copied());
    for name in ["PATH", "HOME", "RUST_LOG"] {
        command.envs(std::env::var(name).map(|value| (name, value)));
    }
    command
}

impl Sidestream {
    /// Starts it with these files (name, text) and waits until it is healthy. A worker file is added with a free port of
    /// `listeners` and the test's `bootstrap.servers`, as far as none of the files has these keys.
    pub fn start(files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        let mut started = Self::spawn(files, env);
        started.wait_healthy();
        started
    }

    /// As `start`, without waiting.
    pub fn spawn(files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        Self::spawn_by(&[], files, env)
    }

    /// As `start`, with `--watch`.
    pub fn watching(files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        let mut started = Self::spawn_as(&[], &["--watch"], files, env);
        started.wait_healthy();
        started
    }

    /// As `spawn`, by a program that is given the command line after its own arguments, such as `env -u X`, and becomes
    /// it.
    pub fn spawn_by(launcher: &[&str], files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        Self::spawn_as(launcher, &[], files, env)
    }

    fn spawn_as(launcher: &[&str], options: &[&str], files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let said =
            |key: &str| files.iter().find_map(|(_, text)| text.split_once(key)?.1.split_whitespace().next());
        let mut worker = String::new();
        let url = said("listeners: ").map(str::to_owned).unwrap_or_else(|| {
            let url = format!("http://127.0.0.1:{}", free_port());
            worker += &format!("  listeners: {url}\n");
            url
        });
        if said("bootstrap.servers").is_none() {
            worker += &format!("  bootstrap.servers: {}\n", super::variable("SIDESTREAM_TEST_KAFKA"));
        }
        let worker = if worker.is_empty() { worker } else { format!("worker:\n{worker}") };
        let mut files = files.to_vec();
        if !worker.is_empty() {
            files.push(("test-worker.yaml", &worker));
        }
        for (name, text) in &files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let log = dir.path().join("sidestream.log");
        let out = File::create(&log).unwrap();
        let child = command_by(launcher, dir.path(), env)
            .arg("run")
            .args(options)
            .args(files.iter().map(|(name, _)| name))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, log, url, dir }
    }

    /// A second process with the same directory and files, after the first has ended; waits until it is healthy.
    pub fn restart(self, env: &[(&str, &str)]) -> Self {
        let mut started = self.respawn(env);
        started.wait_healthy();
        started
    }

    /// As `restart`, without waiting.
    pub fn respawn(mut self, env: &[(&str, &str)]) -> Self {
        assert!(self.child.try_wait().unwrap().is_some(), "stop or kill it before it is started again");
        let mut files: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        let ends = ["yaml", "properties", "json"];
        files.retain(|name| Path::new(name).extension().is_some_and(|end| ends.iter().any(|e| *e == end)));
        let out = File::options().append(true).open(&self.log).unwrap();
        let mut command = command(self.dir.path(), env);
        command.arg("run").args(files).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        self.child = command.spawn().unwrap();
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has logged or printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn wait_healthy(&mut self) {
        wait_until(Duration::from_secs(60), "the worker answers GET /health with 200", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the worker ended with {status} instead of getting healthy; its log:\n{}", self.log());
            }
            self.try_get("/health").filter(|(status, _)| *status == 200)
        });
    }

    /// Status and body of a GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path)
            .unwrap_or_else(|| panic!("GET {path}: no answer; the worker's log:\n{}", self.log()))
    }

    fn try_get(&self, path: &str) -> Option<(u16, String)> {
        block_on(async {
            let answer = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    }

    /// Waits until it answers HTTP at all, healthy or not.
    #[track_caller]
    pub fn wait_listening(&self) {
        let address = self.url.trim_start_matches("http://");
        wait_until(Duration::from_secs(30), "the worker listens", || TcpStream::connect(address).ok());
    }

    pub fn metrics(&self) -> super::Metrics {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        super::Metrics::parse(&text)
    }

    /// Waits until the log has `text`.
    #[track_caller]
    pub fn wait_log(&self, text: &str, deadline: Duration) {
        wait_until(deadline, &format!("the log says `{text}`"), || self.log().contains(text).then_some(()));
    }

    /// Overwrites a file of its directory; `restart` reads it.
    pub fn rewrite(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub fn tasks(&self) -> Vec<Task> {
        serde_json::from_str(&self.get("/health/tasks").1).unwrap()
    }

    /// The tasks of one connector once there are some and all are in `state`.
    #[track_caller]
    pub fn wait_state(&self, connector: &str, state: &str, deadline: Duration) -> Vec<Task> {
        wait_until(deadline, &format!("{connector} is {state}"), || {
            let mut tasks = self.tasks();
            tasks.retain(|task| task.connector == connector);
            (!tasks.is_empty() && tasks.iter().all(|task| task.state == state)).then_some(tasks)
        })
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait_end(deadline)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for an end that comes by itself.
    #[track_caller]
    pub fn wait_end(&mut self, deadline: Duration) -> ExitStatus {
        wait_until(deadline, "the worker ends", || self.child.try_wait().unwrap())
    }

    /// Whether one of its threads sleeps, as at a failpoint that says `sleep(…)`.
    pub fn is_held(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let waits_in =
            |thread: fs::DirEntry| fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
        threads.map(waits_in).any(|function| function.contains("nanosleep"))
    }

    /// Sends a signal by its name: `STOP`, `CONT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "the worker was gone before SIG{name}; its log:\n{}", self.log());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Sidestream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- log of the worker ----\n{}", self.log());
        }
    }
}

/// A port that nothing listens on at this moment, below those from which the kernel takes them for connections.
pub fn free_port() -> u16 {
    let seed =
        std::process::id().wrapping_mul(7919) + std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros();
    let ports = (0..12_000).map(|n| 20_000 + ((seed.wrapping_add(n)) % 12_000) as u16);
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
