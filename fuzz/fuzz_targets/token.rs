#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| propromo_chat::fuzzing::token(bytes));
