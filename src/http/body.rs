//! A request's body, which has its time: a client is waited for, at a time and altogether, and the more has come the
//! longer. What the agent itself takes until it asks for more is not counted.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::LengthLimitError;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Limits;
use crate::problem::{Code, Problem};

/// Why a body ends before its end.
#[derive(Debug, Error)]
pub enum BodyError {
    /// Its time is over.
    #[error("the body did not come in its time")]
    Late,
    /// The connection ended or broke the protocol.
    #[error("the body did not come whole")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// At a time, and altogether for a body of nothing.
    silence: Duration,
    /// Bytes that are worth a second more.
    rate: u64,
}

impl Pace {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { silence: limits.body_timeout, rate: limits.body_rate_kib.get().saturating_mul(1024) }
    }

    /// How long the next piece is waited for, where so much has come in such a time of waiting.
    fn left(self, came: u64, waited: Duration) -> Duration {
        let worth = Duration::from_millis(came.saturating_mul(1000) / self.rate);
        self.silence.saturating_add(worth).saturating_sub(waited).min(self.silence)
    }
}

/// Whether a body came too late, whatever was made of that.
#[derive(Debug, Clone, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body that has its time.
#[derive(Debug)]
pub(super) struct Timed<B> {
    body: B,
    pace: Pace,
    late: Late,
    came: u64,
    waited: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Timed<B> {
    pub(super) fn new(body: B, pace: Pace, late: Late) -> Self {
        Self { body, pace, late, came: 0, waited: Duration::ZERO, since: None, timer: None }
    }

    /// Waits for the next piece; ready where that is over.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = match (&mut self.timer, self.since) {
            (Some(timer), Some(_)) => timer,
            (timer, _) => {
                let now = Instant::now();
                self.since = Some(now);
                let left = self.pace.left(self.came, self.waited);
                let timer = timer.get_or_insert_with(|| Box::pin(sleep(left)));
                timer.as_mut().reset(now + left);
                timer
            }
        };
        timer.as_mut().poll(context)
    }
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.wait(context).map(|()| {
                self.late.0.store(true, Ordering::SeqCst);
                Some(Err(BodyError::Late))
            });
        };
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame {
            self.came += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same error where a body is read as bytes.
pub(super) fn io_error(error: Box<dyn Error + Send + Sync>) -> io::Error {
    let kind = if error.is::<LengthLimitError>() {
        io::ErrorKind::FileTooLarge
    } else if matches!(error.downcast_ref(), Some(BodyError::Late)) {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::ConnectionAborted
    };
    io::Error::new(kind, error)
}

/// What whoever sent the body of a path that takes `most` bytes is told of that error.
pub(super) fn failed(error: &io::Error, most: usize) -> Problem {
    match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(most),
        io::ErrorKind::TimedOut => late(),
        _ => Problem::new(Code::BadRequest, "the body did not arrive whole"),
    }
}

/// What a body that is too large is answered.
pub(super) fn too_large(most: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("this path takes a body of at most {} KiB", most / 1024))
}

/// What one that came too late is answered.
pub(super) fn late() -> Problem {
    Problem::new(Code::RequestTimeout, "the body did not arrive in time")
        .with_hint("send it again, over a faster line or in smaller pieces")
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);
    const PACE: Pace = Pace { silence: SILENCE, rate: 4096 };

    /// A body whose pieces are sent with so much time between them, and how it ends: how much came, in what time.
    async fn sent(pieces: usize, length: usize, every: Duration) -> (Result<(), BodyError>, usize, Duration) {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(every).await;
                if sender.send(Bytes::from(vec![0; length])).await.is_err() {
                    return;
                }
            }
        });
        let frames = ReceiverStream::new(receiver).map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
        let late = Late::default();
        let mut body = Timed::new(StreamBody::new(frames), PACE, late.clone());
        let (began, mut came) = (Instant::now(), 0);
        loop {
            match body.frame().await {
                None => break (Ok(()), came, began.elapsed()),
                Some(Ok(frame)) => came += frame.data_ref().unwrap().len(),
                Some(Err(error)) => {
                    assert!(late.is_so());
                    break (Err(error), came, began.elapsed());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_ends_in_its_time() {
        let (ended, came, took) = sent(1_000_000, 1, Duration::from_secs(1)).await;
        assert!(matches!(ended, Err(BodyError::Late)));
        assert!(came <= 60 && took <= SILENCE + Duration::from_secs(1), "{came} in {took:?}");
        let (ended, came, took) = sent(2, 1, Duration::from_secs(61)).await;
        assert!(matches!(ended, Err(BodyError::Late)));
        assert_eq!((came, took), (0, SILENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_over_a_slow_line_goes_through() {
        // Hours of it, at a little more than the least.
        let (ended, came, took) = sent(20_000, 5000, Duration::from_secs(1)).await;
        assert!(ended.is_ok() && came == 100_000_000 && took > SILENCE * 300, "{came} in {took:?}");
        // What came before buys no silence.
        let (sender, receiver) = mpsc::channel(1);
        sender.send(Bytes::from(vec![0; 100_000_000])).await.unwrap();
        let frames = ReceiverStream::new(receiver).map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
        let mut body = Timed::new(StreamBody::new(frames), PACE, Late::default());
        body.frame().await.unwrap().unwrap();
        let began = Instant::now();
        assert!(matches!(body.frame().await, Some(Err(BodyError::Late))) && began.elapsed() == SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_agents_own_time_is_not_the_clients() {
        let (sender, receiver) = mpsc::channel(1);
        let frames = ReceiverStream::new(receiver).map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
        let mut body = Timed::new(StreamBody::new(frames), PACE, Late::default());
        for _ in 0..100 {
            tokio::time::sleep(SILENCE * 2).await;
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                sender.send(Bytes::from_static(b"x")).await
            });
            body.frame().await.unwrap().unwrap();
        }
    }
}
