//! The long documentation, one module per page.

#[doc = include_str!("start.md")]
pub mod start {}
#[doc = include_str!("nodemcu.md")]
pub mod nodemcu {}
#[doc = include_str!("mongoose.md")]
pub mod mongoose {}
#[doc = include_str!("device.md")]
pub mod device {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[doc = include_str!("loops.md")]
pub mod loops {}
#[doc = include_str!("tls.md")]
pub mod tls {}
#[doc = include_str!("performance.md")]
pub mod performance {}
#[doc = include_str!("reliability.md")]
pub mod reliability {}
#[doc = include_str!("migrating.md")]
pub mod migrating {}
#[doc = include_str!("inside.md")]
pub mod inside {}
