//! Networks of a test's own: a host, a client and two backends, each in a namespace, joined by pairs of
//! veth.

use super::shell::{as_root, quiet, root};

/// Addresses of the host, IPv4 and IPv6.
pub const HOST: &str = "10.9.0.1";
pub const HOST_6: &str = "fd09::1";

/// Where both backends answer.
pub const BACKENDS: [&str; 2] = ["10.9.1.2:8080", "10.9.2.2:8080"];
pub const BACKENDS_6: [&str; 2] = ["[fd09:1::2]:8080", "[fd09:2::2]:8080"];

/// The namespaces, removed when it is dropped, also by a panic.
pub struct Network {
    /// What all of their names begin with.
    pub names: String,
}

impl Network {
    pub fn new(names: String) -> Self {
        let network = Self { names };
        let ip = |words: &str| {
            let words = words.replace('@', &format!("{}-", network.names));
            let words: Vec<_> = ["ip"].into_iter().chain(words.split(' ')).collect();
            root(&words);
        };
        for part in ["host", "client", "one", "two"] {
            ip(&format!("netns add @{part}"));
            ip(&format!("-n @{part} link set lo up"));
        }
        for (index, part) in ["client", "one", "two"].into_iter().enumerate() {
            let (v4, v6) = (
                format!("10.9.{index}"),
                ["fd09:", "fd09:1:", "fd09:2:"][index],
            );
            ip(&format!(
                "-n @host link add {part} type veth peer name up0 netns @{part}"
            ));
            for (at, link, last) in [("host", part, 1), (part, "up0", 2)] {
                ip(&format!("-n @{at} addr add {v4}.{last}/24 dev {link}"));
                ip(&format!(
                    "-n @{at} addr add {v6}:{last}/64 dev {link} nodad"
                ));
                ip(&format!("-n @{at} link set {link} up"));
            }
            ip(&format!("-n @{part} route add default via {v4}.1"));
            ip(&format!("-n @{part} route add default via {v6}:1"));
        }
        for name in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            ip(&format!("netns exec @host sysctl -qw {name}"));
        }
        network
    }

    /// What goes before a command so that it runs, as root, in the namespace of `part`.
    pub fn at(names: &str, part: &str) -> Vec<String> {
        let name = format!("{names}-{part}");
        let words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "ip",
            "netns",
            "exec",
            &name,
        ];
        let words = [as_root(), &words].concat();
        words.into_iter().map(str::to_owned).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for part in ["host", "client", "one", "two"] {
            let name = format!("{}-{part}", self.names);
            let words = ["ip", "netns", "del", &name];
            quiet(&[as_root(), &words].concat());
        }
    }
}
