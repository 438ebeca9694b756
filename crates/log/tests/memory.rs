//! The log in memory keeps the contract.

notification_log::contract_tests!((notification_log::MemoryLog::new(), ()));
