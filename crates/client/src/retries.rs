//! When to ask again: after failures that may pass, with growing waits, until the operation's deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ClientError;

const WAIT_MIN: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The attempts of one operation.
#[derive(Debug)]
pub(crate) struct Retries {
    deadline: Instant,
    wait: Duration,
}

impl Retries {
    pub(crate) fn within(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, wait: WAIT_MIN }
    }

    /// Waits and says true if the operation should be tried again after this failure.
    pub(crate) async fn again(&mut self, error: &ClientError) -> bool {
        if !error.is_retriable() || Instant::now() + self.wait >= self.deadline {
            return false;
        }
        tracing::debug!(%error, wait_ms = self.wait.as_millis(), "asking again");
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT_MAX);
        true
    }
}
