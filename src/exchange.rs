//! One HTTP/1.1 exchange as its client, over whatever carries bytes: a connection each, with bounds on what comes and on
//! how long it takes. Dropping it ends it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// The largest head of an answer, in bytes, and what is read of a body at once.
const HEAD: usize = 64 * 1024;
/// How many fields an answer's head may have.
const FIELDS: usize = 100;

/// Why an exchange came to nothing.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The connection broke, or what came over it is no HTTP.
    #[error("the connection is closed without an HTTP answer")]
    Broken(#[source] hyper::Error),
    /// More came than is read.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// Nothing came in time.
    #[error("no answer came in time")]
    Late,
}

/// An answer whose head has come.
#[derive(Debug)]
pub struct Reply {
    answer: Response<Incoming>,
    connection: AbortOnDropHandle<Result<(), hyper::Error>>,
}

/// Sends `request` over `stream`, and gives the answer when its head has come, which must be so by `end`.
pub async fn ask<S>(stream: S, request: Request<Full<Bytes>>, end: Instant) -> Result<Reply, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = async {
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD).max_headers(FIELDS);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Reply { answer: sender.send_request(request).await?, connection })
    };
    timeout_at(end, asked).await.map_err(|_| ExchangeError::Late)?.map_err(ExchangeError::Broken)
}

impl Reply {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// Its head's fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// Its body of at most `most` bytes, all of which must have come by `end`.
    pub async fn whole(self, most: usize, end: Instant) -> Result<Bytes, ExchangeError> {
        let body = Limited::new(self.answer.into_body(), most).collect();
        match timeout_at(end, body).await {
            Err(_) => Err(ExchangeError::Late),
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ExchangeError::TooLong(most)),
            Ok(Err(error)) => Err(error.downcast().map_or(ExchangeError::Late, |error| ExchangeError::Broken(*error))),
        }
    }

    /// The pieces of its body as they come, which may go on for ever. One that is silent for longer than `silence` is
    /// late, and the last: nothing tells when a connection is gone while this machine slept.
    pub fn pieces(self, silence: Duration) -> impl Stream<Item = Result<Bytes, ExchangeError>> + Send + use<> {
        let Self { answer, connection } = self;
        let frames = BodyStream::new(answer.into_body()).map(move |frame| {
            let _held = &connection;
            frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(ExchangeError::Broken)
        });
        unless_silent(silence, frames)
    }
}

fn unless_silent<S>(silence: Duration, stream: S) -> impl Stream<Item = Result<Bytes, ExchangeError>> + use<S>
where
    S: Stream<Item = Result<Bytes, ExchangeError>>,
{
    futures_util::stream::unfold(Some(Box::pin(stream)), move |stream| async move {
        let mut stream = stream?;
        match timeout(silence, stream.next()).await {
            Ok(Some(piece)) => Some((piece, Some(stream))),
            Ok(None) => None,
            Err(_) => Some((Err(ExchangeError::Late), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// An exchange with one who says `answer`, and then goes or stays.
    async fn asked(answer: &[u8], stays: bool) -> (Result<Reply, ExchangeError>, Option<DuplexStream>) {
        let (ours, mut theirs) = duplex(1 << 20);
        let request = Request::get("/").body(Full::default()).unwrap();
        let answering = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                theirs.read_buf(&mut asked).await.unwrap();
            }
            theirs.write_all(answer).await.unwrap();
            stays.then_some(theirs)
        };
        tokio::join!(ask(ours, request, Instant::now() + LONG), answering)
    }

    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_bound_and_so_has_its_time() {
        let answer = b"HTTP/1.1 201 X\r\nContent-Length: 3\r\n\r\nabc";
        let reply = asked(answer, true).await.0.unwrap();
        assert_eq!(reply.status(), 201);
        assert_eq!(reply.whole(3, Instant::now() + LONG).await.unwrap(), "abc");
        let reply = asked(answer, true).await.0.unwrap();
        assert!(matches!(reply.whole(2, Instant::now() + LONG).await, Err(ExchangeError::TooLong(2))));
        // Whose length nobody tells.
        let (reply, _theirs) = asked(ENDLESS, true).await;
        assert!(matches!(reply.unwrap().whole(2, Instant::now() + LONG).await, Err(ExchangeError::TooLong(2))));
        let (reply, _theirs) = asked(ENDLESS, true).await;
        assert!(matches!(reply.unwrap().whole(3, Instant::now() + LONG).await, Err(ExchangeError::Late)));
        let (reply, _) = asked(ENDLESS, false).await;
        assert!(matches!(reply.unwrap().whole(3, Instant::now() + LONG).await, Err(ExchangeError::Broken(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_bound_and_so_has_its_time() {
        let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 2 * HEAD], b"\r\n\r\n".to_vec()].concat();
        assert!(matches!(asked(&long, true).await.0, Err(ExchangeError::Broken(_))));
        let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: x\r\n".repeat(FIELDS + 1), b"\r\n".to_vec()].concat();
        assert!(matches!(asked(&many, true).await.0, Err(ExchangeError::Broken(_))));
        for never in [&b""[..], b"HTTP/1.1 200"] {
            let (reply, _theirs) = asked(never, true).await;
            assert!(matches!(reply, Err(ExchangeError::Late)), "{never:?}");
            assert!(matches!(asked(never, false).await.0, Err(ExchangeError::Broken(_))), "{never:?}");
        }
        assert!(matches!(asked(b"SSH-2.0-x\r\n", true).await.0, Err(ExchangeError::Broken(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_that_say_that_they_live_go_on_and_silence_ends_them() {
        let (reply, theirs) = asked(ENDLESS, true).await;
        let mut theirs = theirs.unwrap();
        let mut pieces = pin!(reply.unwrap().pieces(Duration::from_secs(45)));
        assert_eq!(pieces.next().await.unwrap().unwrap(), "abc");
        // All of them together take longer than a silence may.
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(30)).await;
            theirs.write_all(b"1\r\n:\r\n").await.unwrap();
            assert_eq!(pieces.next().await.unwrap().unwrap(), ":");
        }
        assert!(matches!(pieces.next().await, Some(Err(ExchangeError::Late))));
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_closed() {
        let (reply, theirs) = asked(ENDLESS, true).await;
        drop(reply.unwrap().pieces(LONG));
        // It ends, where it would else be waited for for ever.
        assert_eq!(theirs.unwrap().read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
