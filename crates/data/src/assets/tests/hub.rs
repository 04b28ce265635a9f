//! The hub's client against a server on this machine: good, wrong, silent, absent.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::assets::hub::{Hub, HubCache};

/// Answers as the hub does, with the toy's files, of which `b` is the second.
fn serve(stream: TcpStream, b: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        request.push_str(&line);
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = if path == "/somebody/toy/resolve/main/a.txt" { FILES[0].1 } else { b };
    let head = request.contains("bytes=0-0");
    let sent = if head { &body[..1] } else { body };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: 1234\r\netag: \"{}\"\r\ncontent-range: bytes 0-{}/{}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        hex(&Sha256::digest(body)),
        sent.len() - 1,
        body.len(),
        sent.len()
    )?;
    stream.write_all(sent)
}

/// The address of a server that answers, or accepts and keeps silent.
fn server(b: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            match b {
                Some(b) => serve(stream, b).unwrap(),
                None => kept.push(stream),
            }
        }
    });
    address
}

/// Long enough for a busy machine.
const PATIENT: Duration = Duration::from_mins(1);

fn fetch(endpoint: String, patience: Duration) -> (Result<Fetched, Failure>, TempDir, u32) {
    let into = tempfile::tempdir().unwrap();
    let hub = Hub { endpoint: Some(endpoint), first_answer: patience, silence: patience };
    let mut reports = 0;
    let request = Request { asset: toy_wheel(), into: into.path(), attempt: 1 };
    let result = hub.fetch(&request, &mut |_| reports += 1);
    (result, into, reports)
}

fn reason(result: Result<Fetched, Failure>) -> String {
    match result {
        Err(Failure::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_arrive_and_progress_is_told() {
    let (result, into, reports) = fetch(server(Some(FILES[1].1)), PATIENT);
    assert!(matches!(result, Ok(Fetched::Files)), "{result:?}");
    assert_eq!(fs::read(into.path().join("b.txt")).unwrap(), FILES[1].1);
    assert!(reports >= 2);
}

#[test]
fn a_file_of_another_revision_is_rejected() {
    let (got, expected) = (hex(&Sha256::digest("bravo, edited")), toy_wheel().files[1].sha256);
    let (result, into, _) = fetch(server(Some(b"bravo, edited")), PATIENT);
    assert_eq!(reason(result), format!("b.txt: its sha256 is {got}, expected {expected}"));
    assert!(!into.path().join("b.txt").exists());
}

#[test]
fn a_silent_server_is_given_up() {
    let start = Instant::now();
    assert_eq!(reason(fetch(server(None), Duration::from_millis(500)).0), "no answer for 500ms");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(reason(fetch(address, PATIENT).0).starts_with("request error: "));
}

#[test]
fn the_clients_cache_is_used_without_a_network_when_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("models--somebody--toy");
    put(&model, &[("refs/main", b"1234"), ("snapshots/1234/a.txt", FILES[0].1)]);
    let cache = HubCache { folder: home.path().to_owned() };
    assert_eq!(cache.offer(toy_wheel()), None);
    put(&model, &[("snapshots/1234/b.txt", b"bravo, edited")]);
    let into = tempfile::tempdir().unwrap();
    let request = Request { asset: toy_wheel(), into: into.path(), attempt: 1 };
    assert!(reason(cache.fetch(&request, &mut |_| {})).starts_with("b.txt: its sha256 is "));
    put(&model, &[("snapshots/1234/b.txt", FILES[1].1)]);
    assert!(matches!(cache.fetch(&request, &mut |_| {}), Ok(Fetched::Files)));
    assert_eq!(listing(into.path()), ["a.txt", "b.txt"]);
    assert_eq!(listing(&model.join("snapshots/1234")), ["a.txt", "b.txt"]);
}
