//! What waits for one viewer of a session: a window of output, and the whole screen for one that was left behind.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::error::Size;
use super::screen::Screen;
use crate::problem::Problem;

/// How much output waits for a viewer.
pub(super) const WINDOW: usize = 256 * 1024;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The program's exit code; none where it was not its own end.
    pub code: Option<i32>,
    /// Why, where it is not simply over.
    pub problem: Option<Problem>,
}

/// What a viewer is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// More to show, as the program wrote it.
    Output(Bytes),
    /// The terminal has another size, since another viewer has.
    Size(Size),
    /// It is over. Nothing follows.
    End(End),
}

/// What waits for one viewer.
#[derive(Debug)]
pub(super) struct Window {
    waiting: BytesMut,
    /// More than this does not wait.
    limit: usize,
    behind: bool,
    size: Size,
    news: Arc<Notify>,
}

impl Window {
    /// One that begins with the whole screen. `news` is told when there is something to take.
    pub(super) fn new(size: Size, news: Arc<Notify>) -> Self {
        Self { waiting: BytesMut::new(), limit: WINDOW, behind: true, size, news }
    }

    pub(super) fn is_full(&self, more: usize) -> bool {
        !self.behind && self.waiting.len() + more > self.limit
    }

    pub(super) fn leave_behind(&mut self) {
        self.behind = true;
        self.waiting = BytesMut::new();
        self.wake();
    }

    /// Something else than output is to be taken.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// More output. Who is behind is given the screen later, which has it.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        if self.behind {
            return;
        }
        // Whoever has something to take comes back for the rest by itself.
        if self.waiting.is_empty() {
            self.wake();
        }
        self.waiting.extend_from_slice(bytes);
    }

    /// What to show next, at most `most` bytes; none where there is nothing yet. `size`, `screen` and `end` are the session's.
    pub(super) fn take(&mut self, most: usize, size: Size, screen: &mut Screen, end: Option<&End>) -> Option<View> {
        if self.size != size {
            self.size = size;
            return Some(View::Size(size));
        }
        if self.behind {
            self.behind = false;
            self.waiting = screen.dump().as_slice().into();
            self.limit = self.waiting.len() + WINDOW;
        }
        if self.waiting.is_empty() {
            return end.cloned().map(View::End);
        }
        if self.waiting.len() <= most {
            self.limit = WINDOW;
        }
        let length = most.min(self.waiting.len());
        Some(View::Output(self.waiting.split_to(length).freeze()))
    }
}
