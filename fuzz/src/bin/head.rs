//! A head that we read ourselves is the same request to hyper.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| notification_http::fuzz::head(bytes));
