//! The hub, from publishing to delivery, over the log in memory.
//!
//! Each file is one theme, told in short stories; `model` interleaves
//! everything at random and compares it with an oracle.

mod access;
mod delivery;
mod durable;
mod feed;
mod groups;
mod harness;
mod hooked;
mod model;
mod newest;
mod presence;
mod publishing;
mod rate;
mod receipts;
mod snapshot;
mod tasks;
