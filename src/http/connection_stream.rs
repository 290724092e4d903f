//! A connection that can be cut from elsewhere, whatever protocol it speaks by then. It holds its place among the
//! connections until it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};

use crate::connection::Connection;

/// The stream of one connection, which it tells about itself.
pub(super) struct ConnectionStream<T> {
    stream: T,
    connection: Connection,
    // A WebSocket is read by one task and written by another, and each waits for the cut.
    cut_reading: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_writing: Pin<Box<WaitForCancellationFutureOwned>>,
    _ended: DropGuard,
    _place: OwnedSemaphorePermit,
}

impl<T> ConnectionStream<T> {
    pub(super) fn new(stream: T, connection: Connection, place: OwnedSemaphorePermit) -> Self {
        let cut = || connection.ended().clone().cancelled_owned();
        Self {
            stream,
            cut_reading: Box::pin(cut()),
            cut_writing: Box::pin(cut()),
            _ended: connection.ended().clone().drop_guard(),
            connection,
            _place: place,
        }
    }

    fn writing(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut_writing.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.set_full(written.is_pending());
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ConnectionStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut_reading.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) && !self.connection.count(buffer.filled().len() - before) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ConnectionStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
