//! [`quorate_fuzzed`]'s target `record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("record").run)(bytes));
