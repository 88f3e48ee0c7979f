//! [`quorate_fuzzed`]'s target `pem`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("pem").run)(bytes));
