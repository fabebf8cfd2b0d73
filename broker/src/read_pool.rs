//! A few threads for reads that must wait for the disk, so that no runtime thread ever does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Enough to keep a disk busy, few enough to leave the processors alone.
const THREADS: usize = 4;
/// Reads that may wait for a thread; beyond it a fetch is answered empty and asked again.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// Threads for cold reads.
#[derive(Clone)]
pub(crate) struct ReadPool {
    jobs: SyncSender<Job>,
}

/// Too many reads wait already.
#[derive(Debug, thiserror::Error)]
#[error("{QUEUE} reads wait for the disk already")]
pub(crate) struct PoolFull;

impl ReadPool {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("read-{number}")).spawn(move || work(&receiver))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolFull> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // whoever asked may be gone
            let _ = answer.send(job());
        });
        self.jobs.try_send(job).map_err(|_| PoolFull)?;
        answered.await.map_err(|_| PoolFull)
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
