//! [`quorate_fuzzed`]'s target `command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("command").run)(bytes));
