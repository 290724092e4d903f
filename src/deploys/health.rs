//! Whether a new release answers, asked over the port that the traffic will take.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::explain::NoAnswer;
use crate::exchange::{self, ExchangeError};
use crate::units::RELEASE_ADDRESS;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection without HTTP must stay open: pasta accepts on its own and closes at once when nobody listens
/// in the container.
const HOLD: Duration = Duration::from_millis(500);

/// What counts as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// Any HTTP answer.
    Http,
    /// 2xx or 3xx at this path.
    Path(&'a str),
    /// A connection that stays open.
    Tcp,
}

/// Asks the release at `port` until it answers as expected; the error says what the last question came to.
pub async fn wait(port: u16, host: &str, expect: Expect<'_>, limit: Duration) -> Result<(), NoAnswer> {
    let end = Instant::now() + limit;
    loop {
        let asked = timeout(PATIENCE.min(limit), ask(port, host, expect, HOLD)).await;
        let why = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => late(PATIENCE.min(limit)),
        };
        if Instant::now() + PAUSE >= end {
            return Err(why);
        }
        sleep(PAUSE).await;
    }
}

fn late(limit: Duration) -> NoAnswer {
    NoAnswer::Late(limit.as_secs())
}

async fn ask(port: u16, host: &str, expect: Expect<'_>, hold: Duration) -> Result<(), NoAnswer> {
    let address = SocketAddr::from((RELEASE_ADDRESS, port));
    let mut stream = TcpStream::connect(address).await.map_err(|_| NoAnswer::Nobody)?;
    let path = match expect {
        Expect::Tcp => {
            let mut byte = [0];
            return match timeout(hold, stream.read(&mut byte)).await {
                // Silence, or a greeting: somebody is there.
                Err(_) | Ok(Ok(1)) => Ok(()),
                Ok(_) => Err(NoAnswer::Closed),
            };
        }
        Expect::Http => "/",
        Expect::Path(path) => path,
    };
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "podkeeper-health")
        .body(Full::default())
        .map_err(|error| NoAnswer::NoHttp(error.to_string()))?;
    let answer = exchange::ask(stream, request, Instant::now() + PATIENCE).await;
    let status = match answer {
        Ok(answer) => answer.status(),
        Err(ExchangeError::Late) => return Err(late(PATIENCE)),
        Err(error) => return Err(NoAnswer::NoHttp(error.to_string())),
    };
    match expect {
        Expect::Path(path) if !(status.is_success() || status.is_redirection()) => {
            Err(NoAnswer::Status { path: path.to_owned(), status: status.as_u16() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// A server that answers each connection with `answer` and closes it.
    async fn server(answer: Option<&'static str>) -> u16 {
        let listener = TcpListener::bind((RELEASE_ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(answer) = answer else { continue };
                tokio::spawn(async move {
                    let mut head = [0; 1024];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        port
    }

    const LONG: Duration = Duration::from_secs(600);

    /// What one question comes to.
    async fn asked(port: u16, expect: Expect<'_>) -> Result<(), String> {
        ask(port, "a.localhost", expect, LONG).await.map_err(|why| why.to_string())
    }

    #[tokio::test]
    async fn any_answer_is_one_and_a_path_wants_a_good_one() {
        let port = server(Some("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(asked(port, Expect::Http).await, Ok(()));
        assert_eq!(asked(port, Expect::Path("/up")).await, Err("/up answers 500".into()));
        let port = server(Some("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(asked(port, Expect::Path("/up")).await, Ok(()));
    }

    #[tokio::test]
    async fn accepting_alone_proves_nothing() {
        let port = server(None).await;
        assert!(asked(port, Expect::Http).await.is_err());
        assert!(asked(port, Expect::Tcp).await.is_err());
        let port = server(Some("hello")).await;
        assert!(asked(port, Expect::Http).await.is_err());
    }

    #[tokio::test]
    async fn it_is_asked_until_it_answers_or_its_time_is_over() {
        let port = server(None).await;
        assert!(wait(port, "a.localhost", Expect::Http, Duration::from_millis(300)).await.is_err());
        let listener = TcpListener::bind((RELEASE_ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The first two are turned away.
        tokio::spawn(async move {
            for _ in 0..2 {
                drop(listener.accept().await);
            }
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        });
        assert_eq!(wait(port, "a.localhost", Expect::Http, LONG).await, Ok(()));
    }

    #[tokio::test]
    async fn a_silent_connection_that_stays_open_is_enough_for_tcp() {
        let listener = TcpListener::bind((RELEASE_ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = tokio::spawn(async move { listener.accept().await });
        assert_eq!(ask(port, "a.localhost", Expect::Tcp, Duration::from_millis(50)).await, Ok(()));
        held.abort();
    }
}
