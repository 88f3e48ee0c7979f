//! [`quorate_fuzzed`]'s target `call`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (quorate_fuzzed::target("call").run)(bytes));
