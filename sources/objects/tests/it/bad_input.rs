//! Objects that are not what they should be: one error a piece, which names object and line; the rest goes on.

use crate::{Task, gzip, keys, lines, rows, write};

/// Reads a folder with `bad` as its second object of three.
async fn read_with(name: &str, bad: &[u8], more: &[(&str, &str)]) -> (Vec<String>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json", lines(0..2));
    write(folder.path(), name, bad);
    write(folder.path(), "z.json", lines(2..4));
    let mut task = Task::open(&keys(folder.path().to_str().unwrap(), more), Vec::new()).await;
    let read = task.read().await;
    let folder = format!("file://{}/", folder.path().display());
    let refusals = read.rejected.iter().map(|error| {
        assert!(!error.is_retriable() && !error.hint.is_empty(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        let message = error.message.strip_prefix(&folder);
        (error.code.clone(), message.unwrap_or_else(|| panic!("{error}")).to_owned())
    });
    (read.rows.clone(), refusals.collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(code, message)| ((*code).to_owned(), (*message).to_owned())).collect()
}

#[tokio::test]
async fn half_a_json_object_is_rejected_with_its_line() {
    let bad = b"{\"n\":10}\n{\"s\":\"secret\n{\"n\":11}\n{\"s\": \"secret\"";
    let (read, refusals) = read_with("b.json", bad, &[]).await;
    assert_eq!(read, rows([0, 1, 10, 11, 2, 3]));
    let control = "an unescaped control character in a string at byte 12";
    let expected = [
        ("objects.json", &*format!("b.json line 2: this is not JSON: {control}")),
        ("objects.json", "b.json line 4: this is not JSON: an unexpected end of the text at byte 14"),
    ];
    assert_eq!(refusals, pairs(&expected));
}

#[tokio::test]
async fn corrupt_and_cut_gzip_is_rejected_behind_the_rows_in_front_of_it() {
    let text = format!("{}{}", lines(10..12), "\"secret\"\n".repeat(9000));
    let whole = gzip(text.as_bytes());
    let (read, refusals) = read_with("b.json.gz", &whole[..whole.len() - 9], &[]).await;
    assert_eq!(read[..4], rows([0, 1, 10, 11]));
    assert_eq!(read[read.len() - 2..], rows([2, 3]));
    let [(code, message)] = &refusals[..] else { panic!("{refusals:?}") };
    assert_eq!(code, "objects.gzip");
    let line = read.len() - 4 + 1;
    assert_eq!(*message, format!("b.json.gz line {line}: the gzip data is corrupt or ends too early"));

    let (read, refusals) = read_with("b.json.gz", b"\x1f\x8bsecret secret secret", &[]).await;
    assert_eq!((read, refusals.len()), (rows(0..4), 1));
    assert!(refusals[0].1.starts_with("b.json.gz line 1: the gzip data"), "{refusals:?}");
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_rejected_with_their_line() {
    let (read, refusals) =
        read_with("b.json", b"{\"n\":10}\n{\"s\":\"secret\xe9\"}\n{\"n\":11}\n", &[]).await;
    assert_eq!(read, rows([0, 1, 10, 11, 2, 3]));
    assert_eq!(
        refusals,
        pairs(&[("objects.json", "b.json line 2: this is not JSON: malformed UTF-8 at byte 12")])
    );
}

#[tokio::test]
async fn a_text_over_the_limit_is_rejected_with_its_line() {
    let long = format!("{{\"n\":10}}\n{{\"s\":\"{}\"}}\n{{\"n\":11}}\n", "secret".repeat(100));
    let (read, refusals) = read_with("b.json", long.as_bytes(), &[("max.line.bytes", "100")]).await;
    assert_eq!(read, rows([0, 1, 10, 11, 2, 3]));
    let message = "b.json line 2: a JSON text is longer than `max.line.bytes`";
    assert_eq!(refusals, pairs(&[("objects.too_long", message)]));
}

#[tokio::test]
async fn something_else_than_json_is_rejected_and_an_empty_object_has_no_rows() {
    let (read, refusals) = read_with("b.json", b"\x89PNG\r\n\x1a\nsecret", &[]).await;
    assert_eq!(read, rows(0..4));
    assert!(!refusals.is_empty() && refusals.iter().all(|(code, _)| code == "objects.json"), "{refusals:?}");
    assert_eq!(read_with("b.json", b"", &[]).await, (rows(0..4), vec![]));
    assert_eq!(read_with("b.json.gz", &gzip(b""), &[]).await, (rows(0..4), vec![]));
}

#[tokio::test]
async fn a_path_that_matches_nothing_fails_a_bounded_run_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "_SUCCESS", "");
    for path in ["*.json", "no/such/folder/*.json", ""] {
        let path = format!("{}/{path}", folder.path().display());
        let error = Task::open(&keys(&path, &[]), Vec::new()).await.poll(1).await.unwrap_err();
        assert_eq!(error.code, "objects.none");
        assert!(!error.is_retriable() && error.message.contains(&path), "{error}");
        assert!(error.hint.contains("objects.follow"), "{error}");
    }
}
