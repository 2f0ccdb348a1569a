#![no_main]

use hubbub_protocol::Format;

libfuzzer_sys::fuzz_target!(|message: &[u8]| hubbub_protocol_fuzz::server(Format::Json, message));
