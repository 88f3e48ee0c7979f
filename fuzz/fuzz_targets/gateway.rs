//! [`quorate_fuzzed`]'s target `gateway`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("gateway").run)(bytes));
