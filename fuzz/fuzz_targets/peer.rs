//! [`quorate_fuzzed`]'s target `peer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("peer").run)(bytes));
