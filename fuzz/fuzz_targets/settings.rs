//! [`quorate_fuzzed`]'s target `settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("settings").run)(bytes));
