//! A client that is answered before all of its body has come goes on sending for a moment. What it sends is thrown away,
//! for a while: on a connection that closes with unread bytes it would read a reset, and never the answer (RFC 9112,
//! section 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::body::{BodyError, Timed};

/// How long a client may go on, altogether.
const WHOLE: Duration = Duration::from_secs(30);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(5);
/// How many bytes are thrown away. Git goes on with a push that was refused until it has sent all of it.
const MOST: u64 = 512 << 20;

/// A request's body that comes back when nobody reads on, and the answer's side of it.
pub(super) fn lingering(body: Unread) -> (RequestBody, UnreadBody) {
    let unread_body = UnreadBody(Arc::new(Mutex::new(Slot::Open(None))));
    (RequestBody { body: Some(body), unread_body: unread_body.clone() }, unread_body)
}

type Unread = Timed<Incoming>;

/// What is left of a request's body.
#[derive(Debug, Clone)]
pub(super) struct UnreadBody(Arc<Mutex<Slot>>);

#[derive(Debug)]
enum Slot {
    /// The answer is still written, and this is what was read no further.
    Open(Option<Unread>),
    /// The answer is written.
    Answered,
}

impl UnreadBody {
    /// The body is read no further. Until the answer is written the client is asked for no more: it may have sent the head
    /// alone, to hear whether its body is welcome.
    fn give_back(&self, body: Unread) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Slot::Open(left) => *left = Some(body),
            Slot::Answered => throw_away(body),
        }
    }

    fn answered(&self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Open(Some(body)) = std::mem::replace(&mut *slot, Slot::Answered) {
            throw_away(body);
        }
    }
}

/// Reads a body to its end, within the bounds; where they are reached, the connection closes.
fn throw_away(mut body: Unread) {
    let all = async move {
        let mut left = MOST;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, body.frame()).await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(less) = left.checked_sub(length) else { return };
            left = less;
        }
    };
    // Without a runtime there is no connection either.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(WHOLE, all));
    }
}

/// The body of a request as the server hands it on.
#[derive(Debug)]
pub struct RequestBody {
    body: Option<Unread>,
    unread_body: UnreadBody,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.unread_body.give_back(body);
        }
    }
}

/// An answer, after which what is left of its request is thrown away.
#[derive(Debug)]
pub struct Lingering<A> {
    answer: A,
    unread_body: UnreadBody,
}

impl<A> Lingering<A> {
    pub(super) fn new(answer: A, unread_body: UnreadBody) -> Self {
        Self { answer, unread_body }
    }
}

impl<A: Body + Unpin> Body for Lingering<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<A::Data>, A::Error>>> {
        Pin::new(&mut self.answer).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

impl<A> Drop for Lingering<A> {
    fn drop(&mut self) {
        self.unread_body.answered();
    }
}
