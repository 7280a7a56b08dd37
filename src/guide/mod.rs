//! The long documentation, one module per page.

#[doc = include_str!("mongoose.md")]
pub mod mongoose {}
#[doc = include_str!("device.md")]
pub mod device {}
