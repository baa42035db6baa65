//! The few requests that the demo makes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Result;

/// Rows as the pipeline's clients post them; one of each table.
const ROWS: [(&str, &str); 3] = [
    (
        "demo.pin",
        r#"{"index": 100001, "unique_id": "posted-by-the-demo", "title": "A pin that was posted", "description": "Came in over HTTP\u2026", "poster_name": "Demo", "follower_count": "12k", "tag_list": "Demo,Posted", "is_image_or_video": "image", "image_src": "https://example.invalid/pin.jpg", "downloaded": 1, "save_location": "Local save in /data/demo", "category": "demo"}"#,
    ),
    (
        "demo.geo",
        r#"{"ind": 100001, "timestamp": "2020-08-28 03:52:47", "latitude": 51.5074, "longitude": -0.1278, "country": "United Kingdom"}"#,
    ),
    (
        "demo.user",
        r#"{"ind": 100001, "first_name": "Dora", "last_name": "Demo", "age": 33, "date_joined": "2016-02-03T04:05:06"}"#,
    ),
];

/// Posts the rows; topic and answer of each.
pub fn post_rows(address: &str) -> Result<Vec<(&'static str, String)>> {
    ROWS.iter()
        .map(|(topic, row)| {
            let body = format!("{{\"records\": [{{\"value\": {row}}}]}}");
            let head = format!(
                "POST /topics/{topic} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: \
                 application/vnd.kafka.json.v2+json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let (status, answer) = exchange(address, &format!("{head}{body}"))?;
            if status == 200 {
                Ok((*topic, answer))
            } else {
                Err(format!("POST answered {status}: {answer}").into())
            }
        })
        .collect()
}

pub fn get(address: &str, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    Ok(exchange(address, &request)?.1)
}

fn exchange(address: &str, request: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an HTTP answer without a head")?;
    let status =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("an HTTP answer without a status")?;
    Ok((status, body.to_owned()))
}
