//! `sidestream probe live`: asks a worker of this machine how it is, where there is no curl (containers).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{FAILED, OK, print};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to ask for.
    #[arg(value_enum)]
    what: What,
    /// The worker's address, `host:port`.
    #[arg(long, default_value = "127.0.0.1:8083", value_name = "HOST:PORT")]
    address: String,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// The process answers.
    Live,
    /// Every task runs.
    Ready,
    /// Kafka is reached, and the declared topics are there.
    Started,
}

/// Exit code 0 when the worker says yes; else 3, with what it says.
pub(super) fn run(args: &Args) -> u8 {
    let path = match args.what {
        What::Live => "/health/live",
        What::Ready => "/health/ready",
        What::Started => "/health",
    };
    match get(&args.address, path, Duration::from_secs(args.timeout)) {
        Ok((status, body)) => {
            print(&body);
            if status == "200" { OK } else { FAILED }
        }
        Err(error) => {
            eprintln!("error: no answer of {}{path}: {error}", args.address);
            FAILED
        }
    }
}

/// Status and body.
fn get(address: &str, path: &str, timeout: Duration) -> io::Result<(String, String)> {
    let to = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status.to_owned(), body.to_owned()))
}
