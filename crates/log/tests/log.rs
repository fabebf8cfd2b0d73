//! All tests of the data directory as a whole, as one program: each program more is built and linked with everything it uses.

mod arbitrary;
mod cold;
mod common;
mod compact;
mod crossed_deletions;
mod crossings;
mod damage;
mod faults;
mod final_errors;
mod handles;
mod holes;
mod indexes;
mod kill;
mod mutants;
mod parked;
mod partition_log;
mod power;
mod rules;
mod syncs;
mod threads;
