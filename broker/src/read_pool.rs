//! A few threads for reads that must wait for the disk, so that no runtime thread ever does.
//!
//! Whoever waits takes turns, by address: one client's cold reads wait behind each other and not before everybody else's, and one thread is
//! always left for others. Reads of replicas will have a turn before all clients.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::oneshot;

/// Enough to keep a disk busy, few enough to leave the processors alone.
const THREADS: usize = 4;
/// Threads that one asker may have at a time.
const THREADS_EACH: usize = THREADS - 1;
/// Reads that may wait for a thread; beyond it a fetch is answered empty and asked again.
const QUEUE: usize = 1_024;
/// Of those, reads for one client.
const QUEUE_EACH: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    /// The broker itself: start, stop, retention, groups.
    Broker,
    Client(IpAddr),
}

/// Threads for cold reads. They end when this is dropped, behind what was accepted.
pub(crate) struct ReadPool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Everybody with jobs that wait or run.
    askers: HashMap<Asker, Jobs>,
    /// Who has jobs that wait, in the order of their turns.
    turns: VecDeque<Asker>,
    waiting: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    running: usize,
}

/// Too many reads wait already.
#[derive(Debug, thiserror::Error)]
#[error("too many reads wait for the disk already ({QUEUE}, or {QUEUE_EACH} of one client)")]
pub(crate) struct PoolFull;

impl ReadPool {
    pub(crate) fn start() -> std::io::Result<Self> {
        let pool = Self(Arc::default());
        for number in 0..THREADS {
            let shared = Arc::clone(&pool.0);
            std::thread::Builder::new().name(format!("read-{number}")).spawn(move || work(&shared))?;
        }
        Ok(pool)
    }

    /// Runs a job of the broker's own on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolFull> {
        self.ask(Asker::Broker, job).await
    }

    /// Runs a job for the client at this address.
    pub(crate) async fn run_for<T: Send + 'static>(
        &self,
        client: IpAddr,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolFull> {
        self.ask(Asker::Client(client), job).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        asker: Asker,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolFull> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // whoever asked may be gone
            let _ = answer.send(job());
        });
        self.0.lock().push(asker, job)?;
        self.0.changed.notify_one();
        answered.await.map_err(|_| PoolFull)
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, asker: Asker, job: Job) -> Result<(), PoolFull> {
        let own = self.askers.get(&asker).map_or(0, |jobs| jobs.waiting.len());
        let is_one_too_many = asker != Asker::Broker && own >= QUEUE_EACH;
        if self.waiting >= QUEUE || is_one_too_many {
            return Err(PoolFull);
        }
        if own == 0 {
            self.turns.push_back(asker);
        }
        self.askers.entry(asker).or_default().waiting.push_back(job);
        self.waiting += 1;
        Ok(())
    }

    /// The next job of whoever's turn it is and has not all the threads that it may have.
    fn take(&mut self) -> Option<(Asker, Job)> {
        let may_run = |asker: &Asker| self.askers.get(asker).is_some_and(|jobs| jobs.running < THREADS_EACH);
        let turn = self.turns.iter().position(may_run)?;
        let asker = self.turns.remove(turn)?;
        let jobs = self.askers.get_mut(&asker)?;
        let job = jobs.waiting.pop_front()?;
        jobs.running += 1;
        self.waiting -= 1;
        if !jobs.waiting.is_empty() {
            self.turns.push_back(asker);
        }
        Some((asker, job))
    }

    fn done(&mut self, asker: Asker) {
        if let Some(jobs) = self.askers.get_mut(&asker) {
            jobs.running -= 1;
            if jobs.running == 0 && jobs.waiting.is_empty() {
                self.askers.remove(&asker);
            }
        }
    }
}

fn work(shared: &Shared) {
    let mut queue = shared.lock();
    loop {
        if let Some((asker, job)) = queue.take() {
            drop(queue);
            job();
            queue = shared.lock();
            queue.done(asker);
            // who had all the threads that it may have can go on
            shared.changed.notify_one();
        } else if queue.is_closed {
            return;
        } else {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};

    use super::{Asker, Job, QUEUE, QUEUE_EACH, Queue, ReadPool, THREADS_EACH};

    fn client(number: u8) -> Asker {
        Asker::Client(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)))
    }

    fn nothing() -> Job {
        Box::new(|| {})
    }

    #[test]
    fn clients_take_turns_however_many_reads_one_of_them_has() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            queue.push(client(1), nothing()).unwrap();
        }
        queue.push(client(2), nothing()).unwrap();
        queue.push(Asker::Broker, nothing()).unwrap();
        let order: Vec<_> = (0..4).map(|_| queue.take().unwrap().0).collect();
        assert_eq!(order, [client(1), client(2), Asker::Broker, client(1)]);
    }

    #[test]
    fn one_thread_is_left_for_others() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            queue.push(client(1), nothing()).unwrap();
        }
        for _ in 0..THREADS_EACH {
            assert_eq!(queue.take().unwrap().0, client(1));
        }
        assert!(queue.take().is_none());
        queue.push(client(2), nothing()).unwrap();
        assert_eq!(queue.take().unwrap().0, client(2));
        queue.done(client(1));
        assert_eq!(queue.take().unwrap().0, client(1));
    }

    #[test]
    fn one_clients_reads_do_not_fill_the_queue_and_nothing_is_remembered_of_who_has_none() {
        let mut queue = Queue::default();
        let accepted = (0..QUEUE).take_while(|_| queue.push(client(1), nothing()).is_ok()).count();
        assert_eq!(accepted, QUEUE_EACH);
        assert!(queue.push(client(2), nothing()).is_ok());
        while let Some((asker, _)) = queue.take() {
            queue.done(asker);
        }
        assert!(queue.askers.is_empty() && queue.turns.is_empty() && queue.waiting == 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_whose_reads_hang_does_not_hold_up_another_one() {
        let pool = Arc::new(ReadPool::start().unwrap());
        let (slow, fast) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let slow_reads: Vec<_> = (0..8)
            .map(|_| {
                let (pool, gate) = (Arc::clone(&pool), Arc::clone(&gate));
                let job = move || gate.lock().unwrap().recv().is_err();
                tokio::spawn(async move { pool.run_for(slow, job).await.unwrap() })
            })
            .collect();
        assert_eq!(pool.run_for(fast, || 7).await.unwrap(), 7);
        drop(open);
        for read in slow_reads {
            assert!(read.await.unwrap());
        }
    }
}
