//! Any text as a file of manifests: understood in full, or refused with its place.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use netpol_verify_fuzz::{assert_placed, set_of, use_up};

fuzz_target!(|data: &[u8]| -> Corpus {
    // Bytes that are no text are refused before there is a parser.
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    for lenient in [false, true] {
        match set_of(&[text], lenient) {
            Ok(set) => {
                use_up(&set);
                break;
            }
            Err(faults) => assert_placed(&faults),
        }
    }
    Corpus::Keep
});
