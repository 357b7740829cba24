//! What can go wrong with the room, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a message could not be delivered now; it stays in the outbox.
#[derive(Debug, Error)]
pub enum MatrixFault {
    /// The configured homeserver is no base URL.
    #[error(
        "`{url}` is no base URL of a homeserver: {reason}; set matrix.homeserver to one such as `https://matrix.example.org`"
    )]
    Homeserver {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configured room is neither an id nor an alias.
    #[error("`{room}` is no room: set matrix.room to an id (`!…`) or an alias (`#…:server`)")]
    Room {
        /// As configured.
        room: String,
    },
    /// No HTTP client.
    #[error("no HTTP client could be made; does the image hold CA certificates?")]
    Client(#[source] reqwest::Error),
    /// There is no token.
    #[error("there is no Matrix token: set MATRIX_TOKEN, or MATRIX_TOKEN_FILE to the path of one")]
    NoToken,
    /// The token's file cannot be read.
    #[error("the Matrix token file `{path}` cannot be read: mount the Secret there, or correct MATRIX_TOKEN_FILE", path = path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token is empty or holds what no token holds.
    #[error("the Matrix token is empty or holds spaces or characters that no token has: put one access token there")]
    TokenText,
    /// No answer.
    #[error(
        "the homeserver at `{base}` cannot be reached: check matrix.homeserver, its DNS name, and that a policy lets this pod out to it"
    )]
    Unreachable {
        /// Its base URL.
        base: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It asks to wait for longer than a run waits.
    #[error(
        "the homeserver limits the rate and asks to wait for {seconds} s more: the message stays in the outbox; exempt the account from rate limits if this returns"
    )]
    Busy {
        /// How long.
        seconds: u64,
    },
    /// It is broken.
    #[error("the homeserver answers {status} ({text}): look at its log; the message stays in the outbox")]
    Server {
        /// The status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// It sends elsewhere; a token is not sent there.
    #[error(
        "the homeserver at `{base}` redirects to `{to}`: the token is not sent there; set matrix.homeserver to the address that answers by itself"
    )]
    Redirected {
        /// Its base URL.
        base: String,
        /// Where to.
        to: String,
    },
    /// The token is not valid.
    #[error(
        "the homeserver does not accept the Matrix token ({text}): it was revoked or has expired; log the account in again and put the new token into the Secret"
    )]
    TokenRejected {
        /// Its words.
        text: String,
    },
    /// The account may not write there.
    #[error(
        "{user} may not write to {room} ({text}): invite it, it joins by itself; if it is in the room, give it the power level to send messages"
    )]
    NotAllowed {
        /// The account.
        user: String,
        /// The room.
        room: String,
        /// The server's words.
        text: String,
    },
    /// There is no such room or alias.
    #[error(
        "the homeserver does not know {room} ({text}): correct matrix.room, or matrix.homeserver if that is another server's room"
    )]
    NoRoom {
        /// As configured.
        room: String,
        /// The server's words.
        text: String,
    },
    /// Some other refusal.
    #[error("the homeserver refuses to {what}: {status} ({text})")]
    Unexpected {
        /// What was asked.
        what: &'static str,
        /// The status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// An answer without what it must hold.
    #[error("the homeserver's answer to {what} holds no {lacks}: is matrix.homeserver a Matrix homeserver?")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is not there.
        lacks: &'static str,
    },
    /// A part of a thread before its root.
    #[error("the message that part {part} of run {seq} belongs under has not been sent: it goes first")]
    RootFirst {
        /// The run.
        seq: u64,
        /// The part.
        part: u32,
    },
}
