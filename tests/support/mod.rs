//! What several tests share.
#![expect(dead_code, reason = "every test program uses a part of it")]

pub mod api;
