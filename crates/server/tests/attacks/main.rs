//! What those try who mean harm, by name, each against the real server on real
//! sockets. A refusal alone proves little: each story also asks what must not
//! have happened. Nothing was published, no stream was opened, and whoever else
//! was there was served all along (`victim.rs`).

#[path = "../common/mod.rs"]
mod common;

mod injection;
mod json;
mod paths;
mod rebinding;
#[cfg(target_os = "linux")]
mod slowness;
mod smuggling;

mod victim;
mod wire;
