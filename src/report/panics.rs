//! What is said of a bug that ends the program, or a thread of it.
//!
//! A panic's own words may hold what the program was at work on, a secret among it. Only those that
//! stand in the source are shown.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use crate::error::Exit;

/// Runs the program; a panic of its main thread is [`Exit::Bug`].
pub fn guarded(program: fn() -> ExitCode) -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        // Where nobody can read it, nothing is left to be done.
        let _ = writeln!(std::io::stderr(), "{}", words(info));
    }));
    std::panic::catch_unwind(program).unwrap_or_else(|_| Exit::Bug.into())
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(
        || "a place that is not known".to_owned(),
        |place| format!("{}:{}", place.file(), place.line()),
    );
    let why = info.payload().downcast_ref::<&'static str>();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    format!("error: this is a bug in flipside: it panicked at {place}{why}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is said of the panic of `program`.
    fn said(program: fn()) -> String {
        let said = Arc::new(Mutex::new(String::new()));
        let theirs = Arc::clone(&said);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| *theirs.lock().unwrap() = words(info)));
        std::panic::catch_unwind(program).unwrap_err();
        std::panic::set_hook(before);
        let said = said.lock().unwrap();
        said.clone()
    }

    #[test]
    fn a_panic_tells_its_place_and_only_words_of_the_source() {
        let literal = said(|| panic!("this cannot be"));
        assert!(literal.ends_with(": this cannot be"), "{literal}");
        let secrets: [fn(); 3] = [
            || panic!("{} is no number", "hunter2".to_owned()),
            || {
                let text = "hunter2ü".to_owned();
                let end = text.len() - 1;
                assert!(text[..end].is_empty());
            },
            || assert_eq!("hunter2", "other"),
        ];
        for secret in secrets {
            let said = said(secret);
            assert!(said.contains("panics.rs:"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_panic_is_exit_code_1() {
        let before = std::panic::take_hook();
        let code = guarded(|| panic!("this cannot be"));
        std::panic::set_hook(before);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)));
        let code = guarded(|| ExitCode::from(5));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(5)));
    }
}
