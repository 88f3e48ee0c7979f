//! [`quorate_fuzzed`]'s target `backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("backup").run)(bytes));
