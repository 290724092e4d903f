//! The agent that runs: which tasks it has, and in which order they end.

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Parts;
use crate::http::{self, Bridge, Listeners, Server, State};
use crate::problem::chain;
use crate::socketio::{self, Sockets};

/// An agent that runs until [`Agent::stop`].
#[derive(Debug)]
pub struct Agent {
    parts: Parts,
    state: State,
    sockets: Sockets,
    /// Those that end by themselves when the agent stops.
    ending: Vec<JoinHandle<()>>,
    /// Those that are cut off.
    endless: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Lets all parts begin, and answers who comes to `listeners`.
    pub async fn start(parts: Parts, listeners: Listeners) -> Self {
        if let Err(error) = parts.queue.keep_permits().await {
            tracing::error!("can't see which builds went on: {}", chain(&error));
        }
        let state = http::state(parts.for_http());
        let bridge = Bridge::new(http::app(state.clone()), State::body_limit);
        let (service, sockets) = socketio::mount(bridge, parts.for_streams());
        let server = Server::new(service, parts.config.clone(), parts.stopping.clone());
        let (deploys, auth, services) = (parts.deploys.clone(), parts.auth.clone(), parts.services.clone());
        let stopping = parts.stopping.clone();
        let ending = vec![
            tokio::spawn(server.run(listeners)),
            tokio::spawn(async move { deploys.run().await }),
            tokio::spawn(sockets.clone().run()),
            tokio::spawn(async move {
                let guarding = stopping.run_until_cancelled(auth.guard());
                tokio::join!(auth.count_refusals(stopping.clone()), guarding);
            }),
        ];
        let clearing = sockets.clone();
        let endless = vec![
            tokio::spawn(async move {
                tokio::join!(services.watch_units(), services.watch_health());
            }),
            tokio::spawn(async move { clearing.clear_terminals().await }),
        ];
        Self { parts, state, sockets, ending, endless }
    }

    /// Ends the agent. Units, builds and deployments go on; what clients asked for and did not wait for is waited for,
    /// `limits.grace` at most.
    pub async fn stop(self) {
        let end = Instant::now() + self.parts.config.get().limits.grace;
        self.parts.stopping.cancel();
        self.endless.iter().for_each(JoinHandle::abort);
        tokio::join!(self.parts.deploys.stop(), self.parts.terminals.stop(), self.sockets.stop());
        for task in self.ending {
            // It fails only where it panicked, which has been told.
            let _ = task.await;
        }
        self.state.end_unattended(end).await;
    }
}
