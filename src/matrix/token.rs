//! The access token: from the environment, or from a file that may be replaced while the program runs.

use std::{fs::File, io::Read as _, path::PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::fault::MatrixFault;
use crate::report::txn::hex;

/// Where the access token comes from. Its `Debug` shows no token.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// `MATRIX_TOKEN`.
    Value(SecretString),
    /// `MATRIX_TOKEN_FILE`: read before each request, since a mounted Secret changes in place.
    File(PathBuf),
}

/// No token is longer; a file that is something else is not read whole.
const LONGEST: u64 = 16 * 1024;

impl TokenSource {
    /// From `MATRIX_TOKEN_FILE`, else from `MATRIX_TOKEN`.
    ///
    /// # Errors
    /// [`MatrixFault::NoToken`] where both are absent or empty.
    pub fn from_env() -> Result<Self, MatrixFault> {
        if let Some(path) = std::env::var_os("MATRIX_TOKEN_FILE").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        match std::env::var("MATRIX_TOKEN") {
            Ok(token) if !token.trim().is_empty() => Ok(Self::Value(token.into())),
            _ => Err(MatrixFault::NoToken),
        }
    }

    /// The token as it is now, without white space around it.
    ///
    /// # Errors
    /// The file cannot be read, or there is no token in it.
    pub(super) fn read(&self) -> Result<SecretString, MatrixFault> {
        let text = match self {
            Self::Value(token) => token.expose_secret().to_owned(),
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
                read.map_err(|source| MatrixFault::TokenFile { path: path.clone(), source })?;
                text
            }
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(MatrixFault::TokenText);
        }
        Ok(SecretString::from(token))
    }

    /// A short hash of the token, by which a later run knows whether it still has the same one.
    pub(super) fn mark(&self) -> String {
        match self.read() {
            Ok(token) => hex(token.expose_secret(), 4),
            Err(_) => "none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_read_again_and_nothing_shows_the_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenSource::File(file.path().to_owned());
        assert!(matches!(source.read(), Err(MatrixFault::TokenText)));
        std::fs::write(file.path(), "syt_first\n").unwrap();
        let first = source.mark();
        assert_eq!(source.read().unwrap().expose_secret(), "syt_first");
        std::fs::write(file.path(), "syt_second\n").unwrap();
        assert_ne!(source.mark(), first);

        let value = TokenSource::Value("syt_secret".into());
        assert!(!format!("{value:?} {:?} {}", value.read(), value.mark()).contains("syt_secret"));
    }
}
