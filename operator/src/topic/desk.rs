//! One task per cluster that has Topics to look at: it gathers them for a moment and settles them together, so that a thousand Topics cost a
//! cluster a few requests. It ends when nobody has asked for a while.
//!
//! Invariant: whoever asks is answered. A question that meets the end of a task is asked again of a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::conditions::Outcome;
use crate::context::{ClusterKey, Context};
use crate::error::ReconcileError;
use crate::topic::batch::{Settled, Wanted, settle};
use crate::topic::fetch::{Cluster, access, cluster};

/// How long a batch waits for more.
const LINGER: Duration = Duration::from_millis(100);
/// Topics of a batch: what a snapshot and a request may be about.
const BATCH_MAX: usize = 500;
/// Topics that wait; whoever asks further waits for a place.
const QUEUE: usize = 2 * BATCH_MAX;
/// A task that nobody asked for so long ends.
const IDLE: Duration = Duration::from_mins(1);

/// One Topic's question.
pub(super) struct Asked {
    wanted: Wanted,
    /// Whether its last status said Ready, for a cluster that does not serve.
    was_ready: bool,
    answer: oneshot::Sender<Settled>,
}

/// The tasks by cluster.
#[derive(Default)]
pub(crate) struct Desks(Mutex<HashMap<ClusterKey, mpsc::Sender<Asked>>>);

impl Desks {
    /// The queue of a cluster's task; the other end too when the task has to be started.
    fn queue(&self, key: &ClusterKey) -> (mpsc::Sender<Asked>, Option<mpsc::Receiver<Asked>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get(key).filter(|queue| !queue.is_closed()) {
            return (open.clone(), None);
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        all.insert(key.clone(), sender.clone());
        (sender, Some(receiver))
    }

    /// Takes no more questions; those that are in the queue already are left to answer.
    fn close(&self, key: &ClusterKey, asked: &mut mpsc::Receiver<Asked>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.close();
        all.remove(key);
    }
}

/// Has a Topic settled together with others of its cluster.
pub(super) async fn ask(context: &Arc<Context>, key: &ClusterKey, wanted: Wanted, was_ready: bool) -> Settled {
    loop {
        let (answer, answered) = oneshot::channel();
        let (queue, new) = context.desks.queue(key);
        if let Some(receiver) = new {
            tokio::spawn(run(Arc::clone(context), key.clone(), receiver));
        }
        let asked = Asked { wanted: wanted.clone(), was_ready, answer };
        if queue.send(asked).await.is_ok()
            && let Ok(settled) = answered.await
        {
            return settled;
        }
        // the task ended meanwhile
        tokio::task::yield_now().await;
    }
}

async fn run(context: Arc<Context>, key: ClusterKey, mut asked: mpsc::Receiver<Asked>) {
    loop {
        let batch = gather(&mut asked).await;
        if batch.is_empty() {
            if asked.is_closed() {
                return;
            }
            context.desks.close(&key, &mut asked);
            continue;
        }
        let (wanted, answers): (Vec<(Wanted, bool)>, Vec<_>) =
            batch.into_iter().map(|one| ((one.wanted, one.was_ready), one.answer)).unzip();
        for (settled, answer) in settled(&context, &key, wanted).await.into_iter().zip(answers) {
            // whoever asked may be gone with its object
            let _ = answer.send(settled);
        }
    }
}

/// A batch: whatever comes within a moment of the first, up to the limit. Empty when nothing came for long, or nothing will any more.
async fn gather(asked: &mut mpsc::Receiver<Asked>) -> Vec<Asked> {
    let Ok(Some(first)) = timeout(IDLE, asked.recv()).await else { return Vec::new() };
    let until = Instant::now() + LINGER;
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        match timeout_at(until, asked.recv()).await {
            Ok(Some(next)) => batch.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

/// Settles a batch, or says of all of them why the cluster can't be asked.
async fn settled(context: &Context, key: &ClusterKey, wanted: Vec<(Wanted, bool)>) -> Vec<Settled> {
    let all = |error: ReconcileError| {
        let error = Arc::new(error);
        wanted.iter().map(|_| Err(Arc::clone(&error))).collect()
    };
    let name = match cluster(context, &key.0, &key.1).await {
        Ok(Cluster::Serving { name, .. }) => name,
        Ok(Cluster::Not { reason, message, soon }) => {
            let waits = |(_, was_ready): &(Wanted, bool)| -> Settled {
                // a topic of a cluster that is gone or stopped can't be used, whatever it was before
                Ok((Outcome::reconciling(*was_ready && soon, reason, message.clone()), None))
            };
            return wanted.iter().map(waits).collect();
        }
        Err(error) => return all(error),
    };
    match access(context, &key.0, &name).await {
        Ok(access) => settle(&access, &wanted.iter().map(|(wanted, _)| wanted.clone()).collect::<Vec<_>>()).await,
        Err(error) => all(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use kennet_contract::management::TopicOwner;
    use kennet_model::topic::validate;
    use serde_json::json;
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::Instant;

    use super::{Asked, BATCH_MAX, Desks, IDLE, LINGER, QUEUE, Wanted, ask, gather};
    use crate::cluster::fixture;
    use crate::conditions::{Outcome, Progress};

    fn wanted() -> Wanted {
        let topic = validate("t", &serde_saphyr::from_str("{clusterRef: {name: c}}").unwrap()).unwrap();
        Wanted {
            topic,
            me: TopicOwner { namespace: "n".into(), name: "t".into(), uid: "1".into() },
            generation: 1,
            reverted: Arc::default(),
        }
    }

    fn asked() -> Asked {
        Asked { wanted: wanted(), was_ready: false, answer: oneshot::channel().0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_topics_at_once_are_two_batches_and_none_waits_longer_than_the_linger() {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let start = Instant::now();
        for _ in 0..1000 {
            sender.try_send(asked()).ok().unwrap();
        }
        assert_eq!((gather(&mut receiver).await.len(), gather(&mut receiver).await.len()), (BATCH_MAX, BATCH_MAX));
        // full batches wait for nothing
        assert_eq!(start.elapsed(), Duration::ZERO);
        sender.try_send(asked()).ok().unwrap();
        let gathering = async { (gather(&mut receiver).await.len(), start.elapsed()) };
        let later = async {
            tokio::time::sleep(LINGER / 2).await;
            sender.try_send(asked()).ok().unwrap();
        };
        let ((size, took), ()) = tokio::join!(gathering, later);
        assert_eq!((size, took), (2, LINGER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_takes_no_more_than_its_limit() {
        let (sender, _receiver) = Desks::default().queue(&("n".to_owned(), "c".to_owned()));
        let taken = (0..2 * QUEUE).take_while(|_| sender.try_send(asked()).is_ok()).count();
        assert_eq!(taken, QUEUE);
    }

    /// The API server knows no KafkaCluster; what matters is who reads how often, and that all are answered.
    #[tokio::test(start_paused = true)]
    async fn topics_that_ask_together_share_one_look_at_their_cluster_and_are_answered_after_an_idle_time_too() {
        let reads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        let context = Arc::new(fixture::answering(move |_, _| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            (404, json!({"kind": "Status", "status": "Failure", "code": 404, "message": "", "reason": "NotFound"}))
        }));
        let key = ("n".to_owned(), "c".to_owned());
        for round in 1..3 {
            let all = futures::future::join_all((0..300).map(|_| ask(&context, &key, wanted(), true))).await;
            // they were ready, and can't be used without their cluster; it may come, so nobody has to act
            let missing = |outcome: &Outcome| {
                outcome.reason == "ClusterMissing" && !outcome.ready && outcome.progress == Progress::Reconciling
            };
            assert!(all.iter().all(|one| one.as_ref().is_ok_and(|(outcome, _)| missing(outcome))));
            assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), round);
            tokio::time::sleep(2 * IDLE).await;
        }
    }
}
