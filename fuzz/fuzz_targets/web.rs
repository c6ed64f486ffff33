#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palk_fuzz::run("web", data));
