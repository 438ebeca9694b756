//! JSON-RPC messages: what is taken is written as something that is taken for
//! the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|json: &[u8]| notification_mcp::fuzz::message(json));
