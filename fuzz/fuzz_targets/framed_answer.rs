//! [`quorate_fuzzed`]'s target `framed_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("framed_answer").run)(bytes));
