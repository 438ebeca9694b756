//! The endpoint as its clients meet it, over a real hub and the log in memory.

mod calls;
mod harness;
mod lanes;
mod modern;
mod receipts;
mod send;
mod shutdown;
mod tasks;
mod tools;
