//! Child processes of the demo: this same program, with its output in a log file.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Result;

/// An address on loopback that nobody listens on now.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Ends with its parent's interest in it.
pub struct Child {
    inner: std::process::Child,
    name: String,
    log: PathBuf,
}

impl Child {
    pub fn start(arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Result<Self> {
        let output = File::create(log)?;
        let inner = Command::new(std::env::current_exe()?)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let name = arguments.first().copied().unwrap_or_default().to_owned();
        Ok(Self { inner, name, log: log.to_owned() })
    }

    pub fn wait_for_port(&mut self, address: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while TcpStream::connect(address).is_err() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(self.complaint("did not listen in time").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.inner.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.complaint(&format!("ended early ({status})")).into()),
        }
    }

    /// Asks it to stop, as SIGTERM does, and waits for a good end.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        // std has no call for SIGTERM; the shell does.
        let pid = self.inner.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        self.wait(limit)
    }

    /// Waits for a good end.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match self.inner.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.complaint(&ended(status)).into()),
                None if Instant::now() > deadline => {
                    return Err(self.complaint("did not end in time").into());
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn complaint(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("`sidestream {}` {what}; the end of {}:\n{tail}", self.name, self.log.display())
    }
}

fn ended(status: ExitStatus) -> String {
    format!("did not end well ({status})")
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.inner.try_wait(), Ok(None)) {
            let _ = self.inner.kill();
            let _ = self.inner.wait();
        }
    }
}
