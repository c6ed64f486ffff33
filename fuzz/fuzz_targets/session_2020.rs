#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palk_fuzz::run("session_2020", data));
