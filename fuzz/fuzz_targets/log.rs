//! [`quorate_fuzzed`]'s target `log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("log").run)(bytes));
