//! All that is asked of a broker over real sockets, as one program: each program more is built and linked with everything it uses. `process.rs` is one of its
//! own, because it starts the broker as a process.

mod admin;
mod batches;
mod commands;
mod compaction;
mod creation;
mod deletion;
mod describes;
mod epochs;
mod expiry;
mod fetches;
mod frames;
mod groups;
mod limits;
mod offline;
mod stopping;
mod support;
