//! Bad days: what an operator sees on each of them, as the tests on the real engine saw it.
//!
//! A test that brings a bad day about hands what was seen to [`Day`], which holds it against
//! `golden/bad_days/NAME.txt`; with `FLIPSIDE_BLESS=1` it writes that file. The guide's page is made
//! of these files by the tests here, which need no engine, and by nothing else.

mod page;
mod seen;
mod table;
mod words;

pub use seen::{Day, Serves, without_an_engine};
