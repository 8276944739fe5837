//! The number of the kernel's rules: every change of any of them, in any table of this network, gives
//! them the next one. A table that was read at a number is as it was read for as long as that is the
//! number. To ask for it takes microseconds, where a start of `nft` takes milliseconds.

use super::netlink::{HEADERS, ask, message};

/// `NFNL_SUBSYS_NFTABLES` of `linux/netfilter/nfnetlink.h`, in the place that it has in a type.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFT_MSG_NEWGEN` of `linux/netfilter/nf_tables.h`: the answer.
const NEWGEN: u16 = 15;
/// `NFT_MSG_GETGEN`: the question.
const GETGEN: u16 = 16;
/// `NFTA_GEN_ID`: the attribute with the number, whose first byte is the highest.
const ID: u16 = 1;

/// The number; none where the kernel does not say, as to one without CAP_NET_ADMIN.
pub(super) fn number() -> Option<u32> {
    read(&ask(&message(SUBSYSTEM | GETGEN, 0, 0, &[])).ok()?)
}

fn read(answer: &[u8]) -> Option<u32> {
    let short = |bytes: &[u8]| Some(u16::from_ne_bytes(bytes.try_into().ok()?));
    if short(answer.get(4..6)?)? != SUBSYSTEM | NEWGEN {
        return None;
    }
    let mut rest = answer.get(HEADERS..)?;
    loop {
        let (length, kind) = (usize::from(short(rest.get(..2)?)?), short(rest.get(2..4)?)?);
        if kind == ID {
            return Some(u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
#[test]
fn the_number_is_found_among_other_attributes() {
    let mut answer = vec![0; HEADERS];
    answer[4..6].copy_from_slice(&(SUBSYSTEM | NEWGEN).to_ne_bytes());
    for (length, kind, value) in [(7_u16, 3_u16, *b"nft\0"), (8, ID, [0, 0, 1, 2])] {
        answer.extend(length.to_ne_bytes());
        answer.extend(kind.to_ne_bytes());
        answer.extend(value);
    }
    assert_eq!(read(&answer), Some(258));
    assert_eq!(read(&answer[..HEADERS + 8]), None);
    answer[4] ^= 1;
    assert_eq!(read(&answer), None);
}
