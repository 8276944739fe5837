//! Questions to the kernel's filters, one message each and answered at once, where a program would
//! take milliseconds to start.

use std::io;

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// How long the headers of a message are: `nlmsghdr` and `nfgenmsg`.
pub(super) const HEADERS: usize = 20;

/// `NLM_F_REQUEST` of `linux/netlink.h`.
const REQUEST: u16 = 1;

/// A message of `kind`, that is subsystem and message, about `family`, with more `flags`.
pub(super) fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADERS + attributes.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

/// An attribute, filled up to the next multiple of four bytes.
pub(super) fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = (4 + content.len()) as u16;
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(content);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The first message of the answer, with its headers.
///
/// # Errors
/// Where the kernel does not answer.
pub(super) fn ask(message: &[u8]) -> io::Result<Vec<u8>> {
    let protocol = Some(netlink::NETFILTER);
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
    net::send(&socket, message, SendFlags::empty())?;
    // The kernel has answered before `send` is over.
    let mut answer = vec![0; 1024];
    let (length, _) = net::recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    answer.truncate(length);
    Ok(answer)
}
