//! Compose's keys of which something is expected here that this version does not do, and what to do
//! instead. What begins with "remove it" says in a Compose file how the plan takes the key away; what
//! is advised otherwise has that added.

/// Those of a role.
pub(super) const OF_A_ROLE: &[(&str, &str)] = &[
    (
        "external_links",
        "join an external network under `networks`",
    ),
    (
        "extends",
        "pass the output of `docker compose config --no-interpolate --no-path-resolution`; or write what it brings on this role",
    ),
    ("domainname", "write the whole name as `hostname`"),
    ("mac_address", "remove it"),
    (
        "volumes_from",
        "remove it, and name the volumes under `volumes`: a container of another role is of another release",
    ),
    ("dns_opt", "remove it"),
    ("userns_mode", "remove it"),
    ("uts", "remove it"),
    ("runtime", "remove it"),
    ("isolation", "remove it"),
    ("oom_score_adj", "remove it"),
    ("annotations", "write `labels`"),
    (
        "post_start",
        "write `hooks: {before_switch: […]}` at the top level",
    ),
    (
        "pre_stop",
        "write `hooks: {after_switch: […]}` at the top level",
    ),
    ("gpus", "remove it: GPUs are not handed out"),
    ("cpuset", NO_CPUS),
    ("cpu_shares", NO_CPUS),
    ("cpu_count", NO_CPUS),
    ("cpu_percent", NO_CPUS),
    ("cpu_rt_period", NO_CPUS),
    ("cpu_rt_runtime", NO_CPUS),
    (
        "cpu_quota",
        "write `cpus`, which is `cpu_quota` by `cpu_period`",
    ),
    (
        "cpu_period",
        "write `cpus`, which is `cpu_quota` by `cpu_period`",
    ),
    ("cgroup", "remove it"),
    ("cgroup_parent", "remove it"),
    ("device_cgroup_rules", "remove it"),
    ("label_file", "write `labels`"),
    ("oom_kill_disable", "remove it"),
    ("mem_swappiness", "remove it"),
    ("blkio_config", "remove it"),
    ("storage_opt", "remove it"),
    ("credential_spec", "remove it"),
    (
        "volume_driver",
        "remove it: make volumes of another driver yourself and mark them `external: true`",
    ),
    (
        "provider",
        "remove it, and run what provides it as a role with an `image`, or leave the role out: `run: never`",
    ),
    (
        "models",
        "remove it: where a model answers is said in variables",
    ),
    (
        "use_api_socket",
        "remove it: with the engine's socket a release could change every other",
    ),
];

/// What to do where CPUs are chosen or weighed.
const NO_CPUS: &str =
    "remove it; `cpus` limits what a role may take at most, which is something else";

/// Those of a `build`.
pub(super) const OF_A_BUILD: &[(&str, &str)] = &[
    ("dockerfile_inline", "write the Dockerfile as a file"),
    ("cache_from", "remove it"),
    ("cache_to", "remove it"),
    (
        "platforms",
        "remove it: images are built for the engine they run on",
    ),
    ("network", "remove it"),
    ("extra_hosts", "remove it"),
    ("shm_size", "remove it"),
    ("ulimits", "remove it"),
    ("isolation", "remove it"),
    ("privileged", "remove it"),
    ("entitlements", "remove it"),
    ("provenance", "remove it"),
    ("sbom", "remove it"),
    ("labels", "write `LABEL` in the Dockerfile"),
    ("tags", "write the tag as `image:` beside `build:`"),
    ("no_cache", "remove it"),
    ("pull", "write `pull_policy: always` on the role"),
];
