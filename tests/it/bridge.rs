//! The bridge between hyper and tide, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::AsyncReadExt as _;
use podkeeper::config::{Config, Limits, LiveConfig};
use podkeeper::http::Bridge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::support::{Answer, PATIENCE, Served, is_alone, raw, request, serve};

const GIB: u64 = 1 << 30;
/// What a client may take that is cut off.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct Seen {
    dropped: Arc<AtomicBool>,
    began: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn limit(_: &Seen, path: &str) -> usize {
    if path == "/count" { usize::MAX } else { 1000 }
}

fn patient() -> Limits {
    Limits { head_timeout: PATIENCE, body_timeout: PATIENCE, ..Limits::default() }
}

/// A server that waits for its clients, however slow this machine is.
async fn served() -> (Seen, Served) {
    served_within(patient()).await
}

/// One that cuts them off.
async fn served_shortly() -> (Seen, Served) {
    served_within(Limits { head_timeout: SHORT, ..Limits::default() }).await
}

async fn served_within(limits: Limits) -> (Seen, Served) {
    served_as(Config { limits, ..Config::default() }).await
}

async fn served_as(config: Config) -> (Seen, Served) {
    let seen = Seen::default();
    let mut app = tide::with_state(seen.clone());
    app.at("/hello").get(|_| async { Ok("hello") });
    app.at("/echo").post(|mut request: tide::Request<Seen>| async move {
        let mut text = String::new();
        match request.take_body().into_reader().read_to_string(&mut text).await {
            Ok(_) => Ok(tide::Response::builder(200).body(text).build()),
            Err(error) => Ok(tide::Response::builder(400).body(format!("{:?}", error.kind())).build()),
        }
    });
    app.at("/count").post(|mut request: tide::Request<Seen>| async move {
        let mut reader = request.take_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer).await? {
                0 => break,
                n => request.state().bytes.fetch_add(n as u64, Ordering::SeqCst),
            };
        }
        Ok(request.state().bytes.load(Ordering::SeqCst).to_string())
    });
    app.at("/zeros").get(|_| async {
        let reader = futures_util::io::repeat(0).take(GIB);
        let body = tide::Body::from_reader(futures_util::io::BufReader::with_capacity(64 * 1024, reader), None);
        Ok(tide::Response::builder(200).body(body).build())
    });
    app.at("/wait").get(|request: tide::Request<Seen>| async move {
        let _guard = Dropped(request.state().dropped.clone());
        request.state().began.store(true, Ordering::SeqCst);
        std::future::pending::<tide::Result>().await
    });
    app.at("/panic").get(|_| async {
        if true {
            panic!("a defect");
        }
        Ok("")
    });
    (seen, serve(Bridge::new(app, limit), LiveConfig::new(config), CancellationToken::new()).await)
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// This process's resident memory in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_goes_up_and_down_at_constant_memory() {
    if !is_alone("bridge::a_gibibyte_goes_up_and_down_at_constant_memory") {
        return;
    }
    let (_, served) = served().await;
    let before = memory();
    let mut most = 0;
    let head = format!("POST /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {GIB}\r\n\r\n");
    let mut stream = connect(served.address, &head).await;
    let chunk = vec![7; 1 << 20];
    for number in 0..1024 {
        stream.write_all(&chunk).await.unwrap();
        if number % 64 == 0 {
            most = most.max(memory());
        }
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(Answer::parse(&text).body, GIB.to_string());

    let mut stream = connect(served.address, &request("GET", "/zeros", &[], "")).await;
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            n => total += n as u64,
        }
        most = most.max(memory());
    }
    assert!(total > GIB, "{total} bytes came");
    assert!(most < before + 64 * 1024, "memory rose from {before} to {most} KiB");
}

#[tokio::test]
async fn a_client_that_goes_away_drops_its_handler() {
    let (seen, served) = served().await;
    let stream = connect(served.address, &request("GET", "/wait", &[], "")).await;
    wait(|| seen.began.load(Ordering::SeqCst)).await;
    drop(stream);
    wait(|| seen.dropped.load(Ordering::SeqCst)).await;
}

async fn wait(condition: impl Fn() -> bool) {
    let happened = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, happened).await.expect("it happens");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_a_length_and_without() {
    let (_, served) = served().await;
    let body = "x".repeat(1001);
    let answer = raw(served.address, &request("POST", "/echo", &[], &body)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{body}\r\n0\r\n\r\n"
    );
    let answer = raw(served.address, &chunked).await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "FileTooLarge"));
    let answer = raw(served.address, &request("POST", "/echo", &[], &body[1..])).await;
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
}

/// A client that writes all of its body before it reads, as git does for as long as it is taken.
async fn answered_after(address: SocketAddr, head: &str, pieces: impl IntoIterator<Item = Vec<u8>>) -> Answer {
    let mut stream = connect(address, head).await;
    for piece in pieces {
        stream.write_all(&piece).await.expect("the body is taken until its end");
    }
    stream.write_all(request("GET", "/hello", &[], "").as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an answer").expect("no reset");
    let (refused, next) = text.split_at(text.rfind("HTTP/1.1 ").unwrap());
    assert!(next.ends_with("hello"), "the connection is kept: {text}");
    Answer::parse(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_early_reads_the_answer_however_much_it_still_sends() {
    const MIB: usize = 1 << 20;
    // More than both ends of a connection hold.
    const PIECES: usize = 32;
    let (_, served) = served().await;
    let length = PIECES * MIB;
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let answer = answered_after(served.address, &head, std::iter::repeat_n(vec![b'x'; MIB], PIECES)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));

    // Refused in its middle.
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; MIB], b"\r\n"].concat();
    let chunks = std::iter::repeat_n(chunk, PIECES).chain([b"0\r\n\r\n".to_vec()]);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = answered_after(served.address, head, chunks).await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "FileTooLarge"));

    // Whoever asks first is told, and is not asked for the body.
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n";
    let mut stream = connect(served.address, head).await;
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "{text}");
        text += std::str::from_utf8(&piece[..read]).unwrap();
    }
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_and_sends_for_ever_is_cut_off() {
    let (_, served) = served().await;
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 8 * GIB);
    let mut stream = connect(served.address, &head).await;
    let piece = vec![b'x'; 1 << 20];
    let mut taken = 0_u64;
    let refused = async {
        while stream.write_all(&piece).await.is_ok() {
            taken += piece.len() as u64;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it is cut off");
    assert!(taken < GIB, "{taken} bytes were taken");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let (_, served) = served().await;
    let answer = raw(served.address, &request("HEAD", "/hello", &[], "")).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (200, Some("5"), ""));
}

#[tokio::test]
async fn a_connection_is_kept_and_takes_requests_one_behind_the_other() {
    let (_, served) = served().await;
    let one = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(served.address, &format!("{one}{one}{}", request("GET", "/hello", &[], ""))).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.matches("200 OK").count(), 3, "{text}");
    assert_eq!(text.matches("hello").count(), 3, "{text}");
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let (_, served) = served_shortly().await;
    assert_eq!(cut_off(connect(served.address, "GET /hello HTTP/1.1\r\nHo").await).await, "");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_so_whatever_its_handler_says_and_nothing_follows() {
    let (_, served) = served_within(Limits { body_timeout: SHORT, ..patient() }).await;
    for head in ["Content-Length: 9\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"] {
        // It asks for no end of the connection.
        let answer = raw(served.address, &format!("POST /echo HTTP/1.1\r\nHost: a\r\n{head}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request-timeout"), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

/// A head of so many bytes in all, with so many headers.
fn long_head(length: usize, headers: usize) -> String {
    let mut head = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_owned();
    (3..headers).for_each(|number| head += &format!("x{number}: \r\n"));
    let filler = length - head.len() - "filler: \r\n\r\n".len();
    format!("{head}filler: {}\r\n\r\n", "x".repeat(filler))
}

#[tokio::test]
async fn a_head_is_taken_up_to_a_bound() {
    const MOST: usize = 32 * 1024;
    let (_, served) = served().await;
    for (length, headers, status) in
        [(MOST, 4, 200), (MOST + 1, 4, 431), (360 * 1024, 4, 431), (4096, 100, 200), (4096, 101, 431)]
    {
        let mut stream = connect(served.address, "").await;
        // It may be answered, and closed, before all of it was written or read.
        let _ = stream.write_all(long_head(length, headers).as_bytes()).await;
        assert_eq!(Answer::parse(&cut_off(stream).await).status, status, "{length} bytes, {headers} headers");
    }
}

#[tokio::test]
async fn a_head_that_says_two_things_is_refused() {
    let (_, served) = served().await;
    for head in [
        "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET http://a/hello HTTP/1.1\r\nHost: b\r\n",
        "GET http://a/hello HTTP/1.1\r\nHost: a:80\r\n",
        "GET http://a/hello HTTP/1.1\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n",
    ] {
        let answer = raw(served.address, &format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 400, "{head}: {answer:?}");
    }
    let whole = "GET http://A:7070/hello HTTP/1.1\r\nHost: a:7070\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(served.address, whole).await.body, "hello");
}

#[tokio::test]
async fn what_follows_a_body_of_two_lengths_is_no_request() {
    let (_, served) = served().await;
    // The chunks count (RFC 9112, section 6.3), and the connection ends: whoever took the other length sends the rest as
    // the next request's.
    for lengths in
        ["Content-Length: 44\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 44"]
    {
        let smuggled = "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{smuggled}");
        let text = cut_off(connect(served.address, &request).await).await;
        assert_eq!((text.matches("HTTP/1.1 ").count(), text.contains("hello")), (1, false), "{text}");
    }
}

/// A request from another of this host's addresses, on a connection that is kept.
async fn connect_from(from: &str, to: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Whether a connection was served; it is kept.
async fn is_served(stream: &mut TcpStream) -> bool {
    let mut first = [0; 8];
    match tokio::time::timeout(PATIENCE, stream.read(&mut first)).await.expect("it is answered or closed") {
        Ok(n) => n > 0,
        Err(_) => false,
    }
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_share_of_the_connections() {
    const KEPT: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let limits = Limits { anonymous: 3, anonymous_each: 2, ..patient() };
    let (_, served) = served_within(limits.clone()).await;
    let ask = async |from| {
        let mut stream = connect_from(from, served.address, KEPT).await;
        is_served(&mut stream).await.then_some(stream)
    };
    let first = ask("127.0.0.1").await.expect("its first");
    let _second = ask("127.0.0.1").await.expect("its second");
    assert!(ask("127.0.0.1").await.is_none());
    let _other = ask("127.0.0.2").await.expect("another's first");
    drop(first);
    // As soon as it is seen to be gone.
    while ask("127.0.0.1").await.is_none() {}

    // Behind a proxy all come from its address.
    let mut config = Config { limits, ..Config::default() };
    config.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let (_, served) = served_as(config).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut stream = connect_from("127.0.0.1", served.address, KEPT).await;
        assert!(is_served(&mut stream).await);
        all.push(stream);
    }
}

#[tokio::test]
async fn a_bad_host_or_method_never_reaches_a_handler() {
    let (_, served) = served().await;
    for text in [
        "GET /hello HTTP/1.1\r\nHost: x/wait?\r\nConnection: close\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n",
        "GET /wait/../hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /wait/.%2E/hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n",
        "BREW /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        assert_eq!(raw(served.address, text).await.status, 400, "{text}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_answers_and_the_next_one_too() {
    let (_, served) = served().await;
    let answer = raw(served.address, &request("GET", "/panic", &[], "")).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    assert_eq!(raw(served.address, &request("GET", "/hello", &[], "")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_runtime_is_started() {
    let (_, served) = served().await;
    raw(served.address, &request("GET", "/hello", &[], "")).await;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        assert!(!name.starts_with("async-") && !name.starts_with("blocking-"), "{name}");
    }
}

/// Reads until the server ends the connection.
async fn cut_off(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("it is cut off");
    text
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_cut_off() {
    let (_, served) = served_shortly().await;
    for head in ["", "P", "PRI * HTTP/2.0\r\n"] {
        let text = cut_off(connect(served.address, head).await).await;
        assert!(!text.contains("hello"), "{head}: {text}");
    }
    // Nor does one for ever that has asked for something. It may come too late for that, where this machine stands still.
    while !cut_off(connect(served.address, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await).await.contains("hello") {}
}

#[tokio::test]
async fn silent_connections_take_no_place_for_long() {
    let limits = Limits { head_timeout: SHORT, connections: 2, ..Limits::default() };
    let (_, served) = served_within(limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(connect(served.address, "POST /ec").await);
    }
    // What it asks is there before it has a place.
    let answer = raw(served.address, &request("GET", "/hello", &[], "")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}
