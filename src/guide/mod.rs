//! The long documentation, one module per page.

#[doc = include_str!("mongoose.md")]
pub mod mongoose {}
