//! The manual: Markdown pages, shown here and by `flipside help TOPIC`.

pub mod alb {
    #![doc = include_str!("alb.md")]
}
pub mod bad_days {
    #![doc = include_str!("bad-days.md")]
}
pub mod compose {
    #![doc = include_str!("compose.md")]
}
pub mod dns {
    #![doc = include_str!("dns.md")]
}
pub mod exec {
    #![doc = include_str!("exec.md")]
}
pub mod exit_codes {
    #![doc = include_str!("exit-codes.md")]
}
pub mod haproxy {
    #![doc = include_str!("haproxy.md")]
}
pub mod hooks {
    #![doc = include_str!("hooks.md")]
}
pub mod nftables {
    #![doc = include_str!("nftables.md")]
}
pub mod nginx {
    #![doc = include_str!("nginx.md")]
}
pub mod plan {
    #![doc = include_str!("plan.md")]
}
pub mod pointers {
    #![doc = include_str!("pointers.md")]
}
pub mod preview {
    #![doc = include_str!("preview.md")]
}
pub mod reach {
    #![doc = include_str!("reach.md")]
}
pub mod rollback {
    #![doc = include_str!("rollback.md")]
}
pub mod route53 {
    #![doc = include_str!("route53.md")]
}
pub mod shared {
    #![doc = include_str!("shared.md")]
}
pub mod standby {
    #![doc = include_str!("standby.md")]
}
pub mod workers {
    #![doc = include_str!("workers.md")]
}

/// One page.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// By which it is asked for.
    pub topic: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// In Markdown.
    pub text: &'static str,
}

/// All pages, in the order in which they are listed.
pub const PAGES: &[Page] = &[
    Page {
        topic: "plan",
        about: "What a plan says, key by key",
        text: include_str!("plan.md"),
    },
    Page {
        topic: "compose",
        about: "From Compose to blue/green in ten minutes",
        text: include_str!("compose.md"),
    },
    Page {
        topic: "pointers",
        about: "What sends the traffic, and what served before flipside came",
        text: include_str!("pointers.md"),
    },
    Page {
        topic: "reach",
        about: "How a pointer reaches a release, also on another host",
        text: include_str!("reach.md"),
    },
    Page {
        topic: "haproxy",
        about: "HAProxy as the pointer",
        text: include_str!("haproxy.md"),
    },
    Page {
        topic: "nginx",
        about: "nginx as the pointer",
        text: include_str!("nginx.md"),
    },
    Page {
        topic: "nftables",
        about: "The kernel as the pointer",
        text: include_str!("nftables.md"),
    },
    Page {
        topic: "alb",
        about: "An Application Load Balancer of AWS's as the pointer",
        text: include_str!("alb.md"),
    },
    Page {
        topic: "exec",
        about: "A command of your own as the pointer",
        text: include_str!("exec.md"),
    },
    Page {
        topic: "preview",
        about: "Looking at a release before it is switched to",
        text: include_str!("preview.md"),
    },
    Page {
        topic: "rollback",
        about: "Going back, also when much is broken",
        text: include_str!("rollback.md"),
    },
    Page {
        topic: "standby",
        about: "Which environments are kept, and until when",
        text: include_str!("standby.md"),
    },
    Page {
        topic: "hooks",
        about: "Migrations before a switch, and what is run around it",
        text: include_str!("hooks.md"),
    },
    Page {
        topic: "workers",
        about: "Roles that must never run in two releases at once",
        text: include_str!("workers.md"),
    },
    Page {
        topic: "shared",
        about: "Databases and queues that outlive releases",
        text: include_str!("shared.md"),
    },
    Page {
        topic: "dns",
        about: "A name in DNS as the pointer, by signed updates",
        text: include_str!("dns.md"),
    },
    Page {
        topic: "route53",
        about: "A name in Amazon Route 53 as the pointer",
        text: include_str!("route53.md"),
    },
    Page {
        topic: "exit-codes",
        about: "What an exit code says, and what to do next",
        text: include_str!("exit-codes.md"),
    },
    Page {
        topic: "bad-days",
        about: "What you see when something goes wrong, and what serves meanwhile",
        text: include_str!("bad-days.md"),
    },
];
