//! [`quorate_fuzzed`]'s target `certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("certificate").run)(bytes));
