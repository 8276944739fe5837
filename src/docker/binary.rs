//! Whether an executable can be the whole of an image, and the name it gets there.
//!
//! Reads the file; runs and builds nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// The program header that names a dynamic loader (System V ABI, `PT_INTERP`).
const INTERPRETER: u32 = 3;
/// How many hexadecimal digits of the digest make a tag.
const TAG_DIGITS: usize = 12;

/// What an image needs to know of an executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binary {
    /// The first digits of its SHA-256.
    pub(super) digest: String,
    /// Its machine in Docker's words: `amd64`.
    pub(super) machine: &'static str,
}

/// Reads the executable at `path`.
///
/// # Errors
/// Why no image can be made of it, as the rest of a sentence that begins with its name.
pub(super) fn read(path: &Path) -> Result<Binary, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut file = File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    let mut head = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        if head.is_empty() {
            head = buffer[..read].to_vec();
        }
        hash.update(&buffer[..read]);
    }
    let machine = static_machine(&head)?;
    let mut digest = crate::core::words::hex(&hash.finalize());
    digest.truncate(TAG_DIGITS);
    Ok(Binary { digest, machine })
}

/// The machine of a static Linux executable, from its first bytes (ELF-64, little-endian: System V
/// ABI, chapters 4 and 5).
fn static_machine(head: &[u8]) -> Result<&'static str, String> {
    const CUT: &str = "ends in its header";
    let number = |at: usize, length: usize| -> Result<usize, String> {
        let end = at.checked_add(length).ok_or(CUT)?;
        let bytes = head.get(at..end).ok_or(CUT)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, &b| sum << 8 | u64::from(b));
        usize::try_from(number).map_err(|_| CUT.to_owned())
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err("is no 64-bit Linux executable".into());
    }
    let machine = match number(18, 2)? {
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        other => {
            return Err(format!(
                "is for a machine that no image is made for ({other})"
            ));
        }
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = table.checked_add(index * size).ok_or(CUT)?;
        if number(at, 4)? == INTERPRETER as usize {
            return Err("is linked dynamically, so it does not run in an empty image".into());
        }
    }
    Ok(machine)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn elf(machine: u16, header: u32) -> Vec<u8> {
        let mut head = vec![0; 64 + 56];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64..68].copy_from_slice(&header.to_le_bytes());
        head
    }

    #[test]
    fn a_static_executable_is_taken() {
        assert_eq!(static_machine(&elf(62, 1)).unwrap(), "amd64");
        assert_eq!(static_machine(&elf(183, 1)).unwrap(), "arm64");
    }

    #[test]
    fn what_would_not_run_alone_is_refused() {
        assert!(
            static_machine(&elf(62, INTERPRETER))
                .unwrap_err()
                .contains("dynamically")
        );
        assert!(static_machine(&elf(40, 1)).unwrap_err().contains("(40)"));
        assert!(
            static_machine(b"#!/bin/sh")
                .unwrap_err()
                .contains("no 64-bit")
        );
        let mut cut = elf(62, 1);
        cut.truncate(64);
        assert_eq!(static_machine(&cut).unwrap_err(), "ends in its header");
    }

    #[test]
    fn an_offset_beyond_all_numbers_is_no_panic() {
        let mut wild = elf(62, 1);
        wild[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(static_machine(&wild).is_err());
    }
}
