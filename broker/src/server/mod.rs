//! Sockets: listeners, connections, frames, limits. What a request means is the handlers' business.

mod connection;
mod frame;
mod limits;
mod listener;
mod write;

pub(crate) use limits::{ByteBudget, ConnectionLimits};
pub(crate) use listener::{Listeners, bind, serve};
