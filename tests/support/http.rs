//! HTTP/1.1 as bytes on a socket, so that a test decides what a client sends.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// The type that the emulator sends.
pub const KAFKA_JSON: &str = "application/vnd.kafka.json.v2+json";

/// One POST on a connection of its own; `address` is `host:port`.
pub fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
    request(address, &format!("POST {path}"), content_type, body)
}

/// The same with any method: `line` is such as `PUT /streams/s/record`.
pub fn request(address: &str, line: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\n\
         Connection: keep-alive\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    // A server that has heard enough answers and closes while the rest is still on its way.
    let sent = stream.write_all(&[head.as_bytes(), body].concat());
    answer(BufReader::new(stream)).map_err(|error| sent.err().unwrap_or(error))
}

fn answer(mut stream: impl BufRead) -> io::Result<Answer> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let field = |name: &str| {
        head.lines().filter_map(|l| l.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let length = match field("content-length") {
        Some((_, length)) => length.parse().map_err(|_| io::ErrorKind::InvalidData)?,
        None if head.contains(" 204 ") => 0,
        None => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, head, body })
}

/// JSON as Python's `json.dumps` writes it: blanks after `:` and `,`, everything else than ASCII escaped.
pub fn python_json(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let fields: Vec<_> =
                map.iter().map(|(k, v)| format!("{}: {}", quoted(k), python_json(v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let ascii = serde_json::Value::from(text).to_string();
    let mut out = String::new();
    for c in ascii.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}
