//! Bearer tokens, their claims and the sets of their keys: whatever comes is
//! refused or believed, the same each time, and never believed without a signature.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    notification_access::fuzz::token(bytes);
    notification_access::fuzz::claims(bytes);
    notification_access::fuzz::key_set(bytes);
});
