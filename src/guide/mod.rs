//! The long documentation, one module per page.

#[doc = include_str!("device.md")]
pub mod device {}
