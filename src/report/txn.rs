//! Transaction ids: the same message always has the same one, so that it is in the room once.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The transaction id of part `part` of run `seq` of the installation whose state has this id: 32 hexadecimal digits.
///
/// A homeserver answers a repeated id with the first event (client-server API, "Transaction identifiers").
#[must_use]
pub fn txn(state_id: &str, seq: u64, part: u32) -> String {
    // The length keeps `a` + `1` apart from `a1`.
    hex(&format!("{}:{state_id}:{seq}:{part}", state_id.len()), 16)
}

/// The first `bytes` bytes of the SHA-256 of `text`, in hexadecimal.
#[must_use]
pub fn hex(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut out = String::new();
    for byte in digest.iter().take(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A changed id would post again what stands in an outbox of an older version.
    #[test]
    fn the_id_never_changes() {
        assert_eq!(txn("4b1d", 7, 0), "900d172b3ff5db19f32696a0c52825b0");
    }

    proptest! {
        #[test]
        fn an_id_belongs_to_one_message(a: (String, u64, u32), b: (String, u64, u32)) {
            let (one, other) = (txn(&a.0, a.1, a.2), txn(&b.0, b.1, b.2));
            prop_assert_eq!(one == other, a == b);
            prop_assert!(one.len() == 32 && one.bytes().all(|c| c.is_ascii_hexdigit()));
        }
    }
}
