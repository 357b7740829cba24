//! The state as bytes: JSON, compressed.

use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::model::State;

/// The version of the layout that this program writes.
pub const VERSION: u32 = 1;

/// A bound for what a damaged or hostile state unpacks to.
const UNPACKED: u64 = 256 << 20;

/// A state that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not what [`encode`] writes.
    #[error("the state is damaged")]
    Damaged(#[source] std::io::Error),
    /// It unpacks to more than any state has.
    #[error("the state unpacks to more than {} MiB", UNPACKED >> 20)]
    Bomb,
    /// The text is not a state.
    #[error("the state is damaged: {0}")]
    NotAState(String),
    /// A newer program wrote it.
    #[error(
        "the state has layout {found}, this program knows {VERSION} and older: run the newer program that wrote it"
    )]
    TooNew {
        /// Its version.
        found: u64,
    },
    /// It could not be written.
    #[error("the state could not be packed")]
    Pack(#[source] std::io::Error),
}

/// Packs a state, always as [`VERSION`]. The same state gives the same bytes.
///
/// # Errors
/// It cannot be written as JSON.
pub fn encode(state: &State) -> Result<Vec<u8>, CodecError> {
    pack(&State { version: VERSION, ..state.clone() })
}

/// Packs anything.
pub(super) fn pack(value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let json = serde_json::to_vec(value).map_err(|error| CodecError::Pack(error.into()))?;
    packer.write_all(&json).map_err(CodecError::Pack)?;
    packer.finish().map_err(CodecError::Pack)
}

/// Unpacks what [`pack`] gave, of the same version of this program.
pub(super) fn unpack_as<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(&unpack(bytes, UNPACKED)?).map_err(|error| CodecError::NotAState(error.to_string()))
}

/// Unpacks a state, and brings one of an older layout up to [`VERSION`]. Fields that it does not know are left out:
/// a program of the same layout version may have added them, and they never change what the others mean.
///
/// # Errors
/// The bytes are damaged, or a newer program wrote them.
pub fn decode(bytes: &[u8]) -> Result<State, CodecError> {
    let json = unpack(bytes, UNPACKED)?;
    let wrong = |error: serde_json::Error| CodecError::NotAState(error.to_string());
    let value: Value = serde_json::from_slice(&json).map_err(wrong)?;
    let Some(found) = value.get("version").and_then(Value::as_u64).filter(|version| *version > 0) else {
        return Err(CodecError::NotAState("it has no version".to_owned()));
    };
    if found > u64::from(VERSION) {
        return Err(CodecError::TooNew { found });
    }
    let state: State = serde_json::from_value(migrated(value, found)).map_err(wrong)?;
    if state.id.is_empty() {
        return Err(CodecError::NotAState("it has no id".to_owned()));
    }
    Ok(state)
}

/// The bytes behind the compression, up to `limit`.
fn unpack(bytes: &[u8], limit: u64) -> Result<Vec<u8>, CodecError> {
    let mut json = Vec::new();
    let read = GzDecoder::new(bytes).take(limit + 1).read_to_end(&mut json).map_err(CodecError::Damaged)?;
    if u64::try_from(read).is_ok_and(|read| read > limit) { Err(CodecError::Bomb) } else { Ok(json) }
}

/// Takes a state of an older layout from version to version. There is none older than the first.
fn migrated(value: Value, _found: u64) -> Value {
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{OutboxEntry, OutboxKind, Revision, RunRecord, Verdict, Verified};

    fn packed(json: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(json.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    fn entry() -> impl Strategy<Value = OutboxEntry> {
        let content: BoxedStrategy<Value> = ("\\PC*", any::<i64>(), prop::option::of("\\PC*"))
            .prop_map(|(body, number, more)| serde_json::json!({"body": body, "n": number, "more": more}))
            .boxed();
        (
            "[a-z0-9]{8}",
            any::<u64>(),
            any::<u32>(),
            content,
            prop::option::of("\\PC*"),
            prop::option::of(("\\PC*", "\\PC*")),
        )
            .prop_map(|(txn, seq, part, content, root_txn, tried)| OutboxEntry {
                txn,
                seq,
                part,
                kind: OutboxKind::Thread,
                content,
                root_txn,
                root_event: None,
                findings: vec!["key".to_owned()],
                at: "2026-11-20T09:12:00Z".to_owned(),
                tried,
            })
    }

    prop_compose! {
        fn state()(
            id in "[0-9a-f]{16}", seq in any::<u64>(),
            outbox in prop::collection::vec(entry(), 0..4),
            names in prop::collection::vec("\\PC{1,20}", 0..6),
            exit in 0_u8..5, last_full in prop::option::of("\\PC*"),
        ) -> State {
            let verified = |name: &String| (name.clone(), Verified { revision: Revision(name.clone()), at: name.clone(), unseen: 3 });
            State {
                version: VERSION, id, seq, outbox, last_full,
                verified: names.iter().map(verified).collect::<BTreeMap<_, _>>(),
                runs: names.iter().map(|name| RunRecord {
                    seq, job: Some(name.clone()), started: name.clone(), finished: String::new(),
                    verdict: Verdict::NotApplied, exit,
                }).collect(),
                product_namespaces: names,
                ..State::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(state in state()) {
            let bytes = encode(&state).unwrap();
            prop_assert_eq!(&decode(&bytes).unwrap(), &state);
            prop_assert_eq!(encode(&state).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic_or_an_empty_state(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_cut_state_is_refused(state in state(), at in any::<prop::sample::Index>()) {
            let bytes = encode(&state).unwrap();
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn other_layouts_are_told_apart() {
        let known = r#"{"version": 1, "id": "00", "seq": 4, "a_later_field": {"x": 1}}"#;
        assert_eq!(decode(&packed(known)).unwrap().seq, 4);
        for (json, text) in [
            (r#"{"version": 2, "id": "00"}"#, "layout 2, this program knows 1 and older"),
            (r#"{"id": "00"}"#, "no version"),
            (r#"{"version": 0, "id": "00"}"#, "no version"),
            (r#"{"version": 1}"#, "no id"),
            (r#"{"version": 1, "id": "00", "seq": "x"}"#, "damaged"),
            ("null", "no version"),
            ("{", "damaged"),
        ] {
            let error = decode(&packed(json)).unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bytes = packed(&" ".repeat(1_001));
        assert!(matches!(unpack(&bytes, 1_000), Err(CodecError::Bomb)));
        assert_eq!(unpack(&bytes, 1_001).unwrap().len(), 1_001);
    }
}
