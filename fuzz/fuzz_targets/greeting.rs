//! [`quorate_fuzzed`]'s target `greeting`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("greeting").run)(bytes));
