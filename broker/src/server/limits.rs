//! What connections may use in all: their number, their number per address, and the bytes of requests and answers in flight.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be held at a time, in steps of a kibibyte: of requests that are read or handled, or of answers on their way.
#[derive(Debug, Clone)]
pub(crate) struct ByteBudget {
    permits: Arc<Semaphore>,
    total: u32,
}

const STEP: usize = 1024;

impl ByteBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / 1024).unwrap_or(u32::MAX >> 4).clamp(1, u32::MAX >> 4);
        let permits = usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), total }
    }

    /// The whole budget.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.total).unwrap_or(usize::MAX).saturating_mul(STEP)
    }

    /// Waits until `bytes` fit; more than the whole budget takes all of it.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_many_owned(self.steps(bytes)).await.ok()
    }

    /// Takes `bytes` if they fit now.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.steps(bytes)).ok()
    }

    /// Gives back what `held` has beyond `bytes`.
    pub(crate) fn shrink(&self, mut held: OwnedSemaphorePermit, bytes: usize) -> OwnedSemaphorePermit {
        let kept = usize::try_from(self.steps(bytes)).unwrap_or(usize::MAX);
        held.split(kept).unwrap_or(held)
    }

    fn steps(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(STEP)).unwrap_or(self.total).clamp(1, self.total)
    }
}

/// How many connections there may be.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    total_max: usize,
    per_ip_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// A place for one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    limits: Arc<ConnectionLimits>,
    ip: IpAddr,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    #[error(
        "there are {limit} connections, as many as max.connections, the limit on open files or a sixteenth of the memory allows"
    )]
    InAll { limit: usize },
    #[error("there are {limit} connections from this address, as many as max.connections.per.ip allows")]
    FromAddress { limit: usize },
}

impl ConnectionLimits {
    pub(crate) fn new(total_max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_ip_max, open: Mutex::default() })
    }

    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPlace, TooMany> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total_max {
            return Err(TooMany::InAll { limit: self.total_max });
        }
        let from_ip = open.per_ip.get(&ip).copied().unwrap_or(0);
        if from_ip >= self.per_ip_max {
            return Err(TooMany::FromAddress { limit: self.per_ip_max });
        }
        open.total += 1;
        open.per_ip.insert(ip, from_ip + 1);
        Ok(ConnectionPlace { limits: Arc::clone(self), ip })
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{ConnectionLimits, TooMany};

    #[test]
    fn places_are_limited_per_address_and_in_all_and_come_back() {
        let limits = ConnectionLimits::new(3, 2);
        let ip = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let _first = limits.enter(ip(1)).unwrap();
        let second = limits.enter(ip(1)).unwrap();
        assert_eq!(limits.enter(ip(1)).unwrap_err(), TooMany::FromAddress { limit: 2 });
        let _third = limits.enter(ip(2)).unwrap();
        assert_eq!(limits.enter(ip(3)).unwrap_err(), TooMany::InAll { limit: 3 });
        drop(second);
        assert!(limits.enter(ip(1)).is_ok());
    }
}
