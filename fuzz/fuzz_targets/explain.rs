//! Any flows over a fixed shop and any policies: `POLICIES NUL FLOWS`, or flows alone.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use netpol_verify::{
    engine::{explain::Question, reach::Reach},
    report::explain::{to_json, to_text},
};
use netpol_verify_fuzz::{assert_placed, set_of};

const SHOP: &str = include_str!("../shop.yaml");
const POLICIES: &str = include_str!("../policies.yaml");

/// As many as `explain --flows` answers in a moment.
const FLOWS: usize = 32;

fuzz_target!(|data: &[u8]| -> Corpus {
    let at = data.iter().position(|byte| *byte == 0);
    let (policies, flows) = at.map_or((None, data), |at| (Some(&data[..at]), &data[at + 1..]));
    let Ok(policies) = policies.map_or(Ok(POLICIES), std::str::from_utf8) else { return Corpus::Reject };
    let set = match set_of(&[SHOP, policies], true) {
        Ok(set) => set,
        Err(faults) => {
            assert_placed(&faults);
            return Corpus::Keep;
        }
    };
    let world = set.world(&set, None);
    let reach = Reach::new(&world);
    let question = Question::new(&reach, &set.snapshot, &set.documents);
    for line in String::from_utf8_lossy(flows).lines().take(FLOWS) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [source, destination, port] = words.as_slice() else { continue };
        match question.explain(source, destination, port) {
            Err(unknown) => assert!(!unknown.to_string().is_empty()),
            Ok(answers) => {
                for answer in answers {
                    let json: serde_json::Value = serde_json::from_str(&to_json(&answer).unwrap()).unwrap();
                    let decision = if answer.is_allowed { "allowed" } else { "denied" };
                    assert_eq!(json["decision"], decision);
                    assert!(to_text(&answer).starts_with(decision), "{}", to_text(&answer));
                }
            }
        }
    }
    Corpus::Keep
});
