//! A port behind which a service is only when a test says so.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::process::free_port;

/// A port that refuses connections until [`Forward::open`].
pub struct Forward {
    /// `127.0.0.1:port`
    pub address: String,
    to: String,
}

impl Forward {
    /// Will lead to `to` (`host:port`).
    pub fn closed(to: &str) -> Self {
        Self { address: format!("127.0.0.1:{}", free_port()), to: to.to_owned() }
    }

    /// Passes every connection on from now on, until the test's process ends.
    pub fn open(&self) {
        let listener = TcpListener::bind(&self.address).unwrap();
        let to = self.to.clone();
        thread::spawn(move || {
            for inner in listener.incoming().flatten() {
                let Ok(outer) = TcpStream::connect(&to) else { continue };
                let (Ok(inner_too), Ok(outer_too)) = (inner.try_clone(), outer.try_clone()) else { continue };
                thread::spawn(move || pass(inner, outer));
                thread::spawn(move || pass(outer_too, inner_too));
            }
        });
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
