//! [`quorate_fuzzed`]'s target `envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("envelope").run)(bytes));
