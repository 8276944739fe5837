//! All bad days, in the order of the guide's page.

/// One of them.
pub struct Entry {
    /// The name of its file.
    pub name: &'static str,
    /// What happened, as the page says it.
    pub title: &'static str,
}

/// Those that belong together on the page.
pub struct Group {
    pub title: &'static str,
    pub days: &'static [Entry],
}

macro_rules! groups {
    ($($title:literal: { $($name:literal => $day:literal,)* })*) => {
        /// The groups of the page.
        pub const GROUPS: &[Group] = &[$(Group {
            title: $title,
            days: &[$(Entry { name: $name, title: $day }),*],
        }),*];
    };
}

groups! {
    "The plan": {
        "dependency-cycle" => "Roles wait for each other",
    }
    "The image": {
        "image-missing" => "The image does not exist",
        "registry-unreachable" => "The registry cannot be reached",
        "registry-refuses" => "The registry wants to know who asks",
        "build-fails" => "The build fails",
    }
    "The container": {
        "exits-at-once" => "It exits at once",
        "out-of-memory" => "It takes more memory than it may",
        "never-healthy" => "It never gets healthy",
        "listens-elsewhere" => "It listens on another port, or on 127.0.0.1 only",
        "redirects" => "It is healthy, and answers 301",
        "one-of-five" => "One replica of five is bad",
        "fails-in-bake" => "It gets healthy, and fails during the bake",
        "worker-deaf-deploy" => "The old worker does not stop, and is killed after its grace period",
        "worker-deaf-rollback" => "The worker that you roll back from does not stop: only work waits",
    }
    "The engine": {
        "engine-away" => "The engine is not there",
        "engine-blinks" => "It goes away for three seconds",
        "engine-gone-prepare" => "It goes away while images are prepared",
        "engine-gone-stand-up" => "It goes away while the candidate stands up",
        "engine-gone-prove" => "It goes away while the candidate is proven",
        "engine-gone-switch" => "It goes away at the switch",
        "engine-gone-bake" => "It goes away during the bake",
        "engine-gone-drain" => "It goes away during the drain",
        "engine-gone-retire" => "It goes away while the oldest release is retired",
        "engine-restarts" => "It is restarted; then `flipside status shop`",
        "engine-restarts-frozen" => "It is restarted, and a standby was frozen; `flipside status shop`",
        "subnets-used-up" => "The plan's range of subnets is used up",
        "ports-used-up" => "The plan's range of ports is used up",
    }
    "The disk": {
        "disk-full" => "The journal's disk is full",
        "disk-full-prepare" => "It fills while images are prepared",
        "disk-full-stand-up" => "It fills while the candidate stands up",
        "disk-full-prove" => "It fills while the candidate is proven",
        "disk-full-switch" => "It fills at the switch",
        "disk-full-bake" => "It fills during the bake",
        "disk-full-drain" => "It fills during the drain",
        "disk-full-retire" => "It fills while the oldest release is retired",
        "disk-full-rollback" => "It is full, and you roll back",
        "engine-disk-full" => "The engine's disk is full",
        "engine-disk-full-prepare" => "The engine's disk fills while images are prepared",
        "engine-disk-full-stand-up" => "The engine's disk fills while the candidate stands up",
        "engine-disk-full-prove" => "The engine's disk fills while the candidate is proven",
        "engine-disk-full-switch" => "The engine's disk fills at the switch",
        "engine-disk-full-bake" => "The engine's disk fills during the bake, and takes not even the lease",
        "engine-disk-full-drain" => "The engine's disk fills during the drain",
        "engine-disk-full-retire" => "The engine's disk fills while the oldest release is retired",
        "engine-disk-full-rollback" => "The engine's disk is full, and you roll back",
    }
    "The pointer": {
        "port-in-use" => "Another process listens where the proxy should",
        "port-published" => "The Compose project that ran before still publishes the port",
        "proxy-strangers" => "Somebody else's container has the proxy's name",
        "proxy-killed" => "The proxy is killed, and comes back by itself",
        "proxy-killed-switch" => "The proxy is killed at the switch, and comes back by itself",
        "proxy-stopped-switch" => "Somebody stops the proxy at the switch, and starts it again",
        "proxy-stopped-status" => "Somebody stops the proxy; `flipside status shop`",
        "proxy-stopped-dry-run" => "Somebody stops the proxy, and you look before you roll back",
        "proxy-stopped-rollback" => "Somebody stops the proxy, and you roll back",
        "proxy-stopped-deploy" => "Somebody stops the proxy, and you deploy",
        "proxy-old" => "The proxy is of an older version, and cannot ask what the plan asks",
    }
    "The standby, when you roll back": {
        "standby-died" => "It has died",
        "standby-removed" => "Somebody has removed its container",
        "standby-paused" => "Somebody has paused it",
        "standby-woken" => "It was frozen, and is unpaused by hand; `flipside status shop`",
        "standby-unfit" => "Its probe fails",
        "standby-image-gone" => "Its image is gone",
        "volumes-pruned" => "A cron job has pruned volumes",
        "checkout-gone" => "Checkout and secret files are gone, and the engine was restarted",
    }
    "Your terminal": {
        "terminal-gone" => "It is closed in the middle of a deploy; later, `flipside status shop`",
        "stderr-closed" => "Its standard error is closed",
        "pipe-full" => "Nobody reads the pipe that it writes to",
        "signal-prepare" => "Ctrl-C or SIGTERM while images are prepared",
        "signal-stand-up" => "Ctrl-C or SIGTERM while the candidate stands up",
        "signal-prove" => "Ctrl-C or SIGTERM while the candidate is proven",
        "signal-switch" => "Ctrl-C or SIGTERM at the switch",
        "signal-bake" => "Ctrl-C or SIGTERM during the bake",
        "signal-drain" => "Ctrl-C or SIGTERM during the drain",
        "signal-retire" => "Ctrl-C or SIGTERM while the oldest release is retired",
        "signal-twice" => "Ctrl-C, and again while the candidate is removed",
        "signal-twice-prepare" => "Ctrl-C and SIGTERM at once, while images are prepared",
        "signal-twice-stand-up" => "Ctrl-C and SIGTERM at once, while the candidate stands up",
        "signal-twice-prove" => "Ctrl-C and SIGTERM at once, while the candidate is proven",
        "signal-twice-switch" => "Ctrl-C and SIGTERM at once, at the switch",
        "signal-twice-bake" => "Ctrl-C and SIGTERM at once, during the bake",
        "signal-twice-drain" => "Ctrl-C and SIGTERM at once, during the drain",
        "signal-twice-retire" => "Ctrl-C and SIGTERM at once, while the oldest release is retired",
    }
    "The clock": {
        "clock-jumps" => "It jumps an hour, forwards or back, in the middle of a deploy",
    }
    "Several at once": {
        "held" => "Somebody else deploys the same service",
        "first-deploys-race" => "Two services' first deploys both find no proxy",
        "sixteen-at-once" => "Sixteen services are deployed at once",
    }
}

/// Every day of every group.
pub fn days() -> impl Iterator<Item = &'static Entry> {
    GROUPS.iter().flat_map(|group| group.days)
}
