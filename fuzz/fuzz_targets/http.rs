//! [`quorate_fuzzed`]'s target `http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("http").run)(bytes));
