//! The bridge between hyper and tide, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::AsyncReadExt as _;
use podkeeper::config::{Config, Limits, LiveConfig};
use podkeeper::http::{BodyLimit, Bridge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
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

fn limit(_: &Seen, path: &str) -> BodyLimit {
    let bytes = if path == "/count" { usize::MAX } else { 1000 };
    let silence = if path == "/slow" { SHORT } else { PATIENCE };
    BodyLimit { bytes, silence }
}

/// A server that waits for its clients, however slow this machine is.
async fn served() -> (Seen, Served) {
    served_within(Limits { head_timeout: PATIENCE, ..Limits::default() }).await
}

/// One that cuts them off.
async fn served_shortly() -> (Seen, Served) {
    served_within(Limits { head_timeout: SHORT, ..Limits::default() }).await
}

async fn served_within(limits: Limits) -> (Seen, Served) {
    let seen = Seen::default();
    let mut app = tide::with_state(seen.clone());
    app.at("/hello").get(|_| async { Ok("hello") });
    for path in ["/echo", "/slow"] {
        app.at(path).post(|mut request: tide::Request<Seen>| async move {
            let mut text = String::new();
            match request.take_body().into_reader().read_to_string(&mut text).await {
                Ok(_) => Ok(tide::Response::builder(200).body(text).build()),
                Err(error) => Ok(tide::Response::builder(400).body(format!("{:?}", error.kind())).build()),
            }
        });
    }
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
    let config = LiveConfig::new(Config { limits, ..Config::default() });
    (seen, serve(Bridge::new(app, limit), config, CancellationToken::new()).await)
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
async fn a_client_that_is_slow_with_its_head_or_body_is_cut_off() {
    let (_, served) = served_shortly().await;
    assert_eq!(cut_off(connect(served.address, "GET /hello HTTP/1.1\r\nHo").await).await, "");
    // This one's head comes in time.
    let (_, served) = self::served().await;
    let answer =
        raw(served.address, "POST /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\nab").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "TimedOut"));
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
