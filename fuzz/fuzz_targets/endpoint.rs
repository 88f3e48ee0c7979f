//! [`quorate_fuzzed`]'s target `endpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("endpoint").run)(bytes));
