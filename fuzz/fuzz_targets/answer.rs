//! [`quorate_fuzzed`]'s target `answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("answer").run)(bytes));
