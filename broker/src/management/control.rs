//! A thread and a runtime of their own for what has to answer however busy clients keep the broker: probes, metrics, the operator's endpoint.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The runtime; it has ended, with everything on it, when this is dropped.
pub(crate) struct Control {
    handle: Handle,
    ended: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Control {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let ended = CancellationToken::new();
        let until = ended.clone();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || runtime.block_on(until.cancelled()))?;
        Ok(Self { handle, ended, thread: Some(thread) })
    }

    /// Runs a task on it.
    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(task)
    }

    /// Sockets that are bound while this is held are driven by this runtime.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.ended.cancel();
        // its tasks hold the broker, whose directory another one may open next; no task here waits for the caller's thread
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}
