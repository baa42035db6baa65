//! An HTTP/1.1 proxy before a service: what becomes of each request is a closure of the test.
//!
//! What passes keeps its first line, its `Host` and its fields, so that signatures hold: the service must not mind being
//! called by another name. Crates outside of this package include it by its path; it needs nothing but std.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Nothing: the service answers.
    Pass,
    /// The service does not see it; this is its answer.
    Answer(Message),
    /// The service does not see it, and the connection is closed.
    Drop,
    /// The service does what it is asked, and the connection is closed instead of an answer.
    LoseAnswer,
    /// The service does what it is asked, and the connection is closed in the middle of its answer.
    CutAnswer,
    /// Something else, after a while.
    Late(Duration, Box<Fate>),
}

/// What a client gets to see.
pub enum Reply {
    Whole(Message),
    /// The first half of its bytes.
    Half(Message),
    Nothing,
}

/// Runs until the process of the test ends.
pub struct HttpFaults {
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl HttpFaults {
    /// Before the service at `target` (`http://host:port`); `script` is asked once for each request, one at a time.
    pub fn before(target: &str, script: impl FnMut(&Message) -> Fate + Send + 'static) -> Self {
        let script = Mutex::new(script);
        let url = listen(target, move |request, target| {
            let mut fate = script.lock().unwrap()(request);
            while let Fate::Late(time, then) = fate {
                thread::sleep(time);
                fate = *then;
            }
            Ok(match fate {
                Fate::Pass => Reply::Whole(request.forward(target)?),
                Fate::Answer(answer) => Reply::Whole(answer),
                Fate::CutAnswer => Reply::Half(request.forward(target)?),
                Fate::LoseAnswer => {
                    request.forward(target)?;
                    Reply::Nothing
                }
                Fate::Drop | Fate::Late(..) => Reply::Nothing,
            })
        });
        Self { url }
    }
}

/// Serves on a port of its own, whose URL it returns; `handle` is given each request and the service's `host:port`, from
/// several threads.
pub fn listen(
    target: &str,
    handle: impl Fn(&Message, &str) -> io::Result<Reply> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = target.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (target, handle) = (target.clone(), Arc::clone(&handle));
            thread::spawn(move || serve(client, &target, &*handle));
        }
    });
    url
}

/// Answers the requests of one connection until one of both sides closes it.
fn serve(
    client: TcpStream,
    target: &str,
    handle: &dyn Fn(&Message, &str) -> io::Result<Reply>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut writer = client.try_clone()?;
    while let Some(request) = Message::read(&mut reader, true)? {
        match handle(&request, target) {
            Ok(Reply::Whole(answer)) => writer.write_all(&answer.bytes())?,
            Ok(Reply::Half(answer)) => {
                let bytes = answer.bytes();
                writer.write_all(&bytes[..bytes.len() / 2])?;
                break;
            }
            Ok(Reply::Nothing) | Err(_) => break,
        }
    }
    client.shutdown(Shutdown::Both)
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// `PUT /bucket/key HTTP/1.1`, `HTTP/1.1 200 OK`
    pub first: String,
    /// Without `Content-Length`, `Transfer-Encoding` and `Connection`.
    pub fields: Vec<(String, String)>,
    /// What `Content-Length` says; of an answer to HEAD not that of its body.
    length: Option<usize>,
    pub body: Vec<u8>,
}

impl Message {
    /// An answer; `status` is such as `503 Slow Down`.
    pub fn answer(status: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            first: format!("HTTP/1.1 {status}"),
            fields: vec![("Content-Type".to_owned(), content_type.to_owned())],
            length: Some(body.len()),
            body,
        }
    }

    #[must_use]
    pub fn with_body(&self, body: Vec<u8>) -> Self {
        Self { length: Some(body.len()), body, ..self.clone() }
    }

    /// `PUT`
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn is_ok(&self) -> bool {
        self.first.split(' ').nth(1) == Some("200")
    }

    /// `None` at the end of the connection.
    fn read(reader: &mut impl BufRead, has_body: bool) -> io::Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let (mut fields, mut length, mut chunked) = (Vec::new(), None, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "transfer-encoding" => chunked = true,
                "connection" => {}
                _ => fields.push((name.to_owned(), value.trim().to_owned())),
            }
        }
        let mut body = Vec::new();
        if has_body && chunked {
            body = chunks(reader)?;
            length = Some(body.len());
        } else if has_body {
            body.resize(length.unwrap_or(0), 0);
            reader.read_exact(&mut body)?;
        }
        Ok(Some(Self { first: first.trim_end().to_owned(), fields, length, body }))
    }

    /// The service's answer, on a connection of its own.
    pub fn forward(&self, target: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target)?;
        stream.write_all(&self.bytes())?;
        let has_body = self.method() != "HEAD";
        Self::read(&mut BufReader::new(stream), has_body)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.first);
        self.fields.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        if let Some(length) = self.length {
            head += &format!("Content-Length: {length}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = line.trim_end().split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(length, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let at = body.len();
        body.resize(at + length, 0);
        reader.read_exact(&mut body[at..])?;
        if length == 0 {
            // Trailers, up to an empty line.
            while reader.read_line({
                line.clear();
                &mut line
            })? > 2
            {}
            return Ok(body);
        }
        reader.read_exact(&mut [0; 2])?;
    }
}
