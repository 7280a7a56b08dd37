//! Mongoose OS's words: MQTT driven by configuration, as its manual describes it.
//!
//! | file | job |
//! | --- | --- |
//! | `config`, `section`, `comments` | a configuration, checked |
//! | `format` | the formats of `pubf` |

mod comments;
mod config;
mod format;
mod section;
