//! The memory between runs, the lock around it, and the clock.
//!
//! The state lives in one ConfigMap ([`ConfigMapStore`]), written only by the run that holds the Lease
//! ([`LeaseLock`]); both writes are refused by the API server when somebody else wrote in between. What cannot be read
//! is never replaced by an empty state: that would forget open findings and unsent messages.
//!
//! The pods of an Indexed Job share a run's probes by ConfigMaps of their own ([`Places`]).

mod clock;
mod codec;
mod indexes;
mod lease;
mod places;
mod renewal;
mod store;

pub use clock::SystemClock;
pub use codec::{CodecError, VERSION, decode, encode};
pub use lease::{LeaseError, LeaseLock};
pub use places::{JobDesk, PlaceError, Places};
pub use store::{ConfigMapStore, StoreError};
