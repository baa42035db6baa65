//! The transforms that come with Sidestream: the three cleaners of the Pinterest pipeline.

mod geo;
mod pin;
mod rows;
mod user;

use connector_core::Component;

pub use geo::GeoCleaner;
pub use pin::PinCleaner;
pub use user::UserCleaner;

/// The transforms of this crate.
pub fn components() -> Vec<Component> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    vec![
        Component::transform::<PinCleaner>(VERSION),
        Component::transform::<GeoCleaner>(VERSION),
        Component::transform::<UserCleaner>(VERSION),
    ]
}
