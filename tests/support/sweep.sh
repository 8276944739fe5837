# What the tests' names own on this machine, and removing it. Sourced by tests/run.sh after
# engine.sh; does nothing by itself.
#
# A run gives its tests four digits (FLIPSIDE_TEST_RUN) that begin every name they choose, and a
# directory for all their files. What a killed run has left is removed by the next one once it is
# half an hour old: no test takes that long, and another run may be at work.

SWEEP_AGE=1800

# engine_things: kind, id, name and service of everything on the engine.
engine_things() {
    local service='{{.Label "flipside.service"}}'
    docker ps -a --no-trunc --format "container|{{.ID}}|{{.Names}}|$service"
    docker network ls --no-trunc --format "network|{{.ID}}|{{.Name}}|$service"
    docker volume ls --format "volume|{{.Name}}|{{.Name}}|$service"
    docker images --quiet --no-trunc --filter label=flipside.service | sort -u |
        xargs -r docker image inspect \
            --format 'image|{{.Id}}||{{index .Config.Labels "flipside.service"}}' 2>/dev/null
}

# test_name NAME: without the prefixes that flipside gives to what it names after a service.
test_name() {
    local name=${1#0-}
    name=${name#flipside.}
    printf '%s' "${name#flipside-}"
}

# is_of_tests NAME [RUN]: whether tests choose such names; those of RUN, where it is given.
is_of_tests() {
    local name end='($|[-._@/:])'
    name=$(test_name "$1")
    [ -z "${2:-}" ] || [[ $name == "t-$2"* ]] || return 1
    [[ $name =~ ^t-([0-9a-f]{4})?[0-9a-f]{8}$end || $name =~ ^t-([0-9a-f]{4}-)?[a-z]+-[0-9]+-[0-9]+$end ]]
}

# things_of_tests [RUN]: those lines of engine_things.
things_of_tests() {
    local kind id name service
    while IFS='|' read -r kind id name service; do
        if is_of_tests "$name" "${1:-}" || is_of_tests "$service" "${1:-}"; then
            printf '%s|%s|%s|%s\n' "$kind" "$id" "$name" "$service"
        fi
    done < <(engine_things)
}

# proxy_images: every image of an embedded proxy, with or without a name. They carry no test's name.
proxy_images() {
    docker images --all --quiet --no-trunc --filter label=flipside.kind | sort -u
}

# is_old KIND ID
is_old() {
    local field=Created created
    [ "$1" != volume ] || field=CreatedAt
    created=$(docker "$1" inspect --format "{{json .$field}}" "$2" 2>/dev/null) || return 1
    created=$(date -d "$(printf '%s' "$created" | tr -d '"')" +%s) || return 1
    [ "$(($(date +%s) - created))" -gt "$SWEEP_AGE" ]
}

# remove_things: removes what it reads, containers first, as they hold the rest.
remove_things() {
    local kind id rest
    sort | while IFS='|' read -r kind id rest; do
        case "$kind" in
        container) docker rm --force --volumes "$id" ;;
        image) docker rmi --force "$id" ;;
        *) docker "$kind" rm "$id" ;;
        esac </dev/null >/dev/null 2>&1
    done
}

# remove_directory DIRECTORY: with the daemons that were started in it, and what is mounted there.
remove_directory() {
    local pid mounted
    for pid in $(grep -ls -- "$1/" /proc/[0-9]*/cmdline | sed 's|/proc/||; s|/cmdline||'); do
        case "$(cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' ' ')" in
        *dockerd* | *containerd*) as_root kill -KILL "$pid" 2>/dev/null ;;
        esac
    done
    grep -o " $1/[^ ]*" /proc/mounts | sort -r | while read -r mounted; do
        as_root umount -l "$mounted"
    done
    as_root rm -rf "$1" 2>/dev/null || rm -rf "$1"
}

# sweep_networks [RUN]: namespaces of second daemons and of tests; of all runs only those that are old.
sweep_networks() {
    local place name
    for place in "/run/netns/fs-${1:-}"* "/run/netns/t-${1:-}"*; do
        [ -e "$place" ] || continue
        name=${place##*/}
        [[ $name =~ ^fs-([0-9a-f]{4})?[0-9a-f]{8}$ ]] || is_of_tests "$name" || continue
        [ -n "${1:-}" ] || [ "$(($(date +%s) - $(stat -c %Y "$place")))" -gt "$SWEEP_AGE" ] || continue
        as_root ip netns pids "$name" 2>/dev/null | while read -r pid; do
            as_root kill -KILL "$pid" 2>/dev/null
        done
        as_root ip netns del "$name" 2>/dev/null
    done
}

# sweep_old: what runs have left that are over.
sweep_old() {
    local line kind id rest directory
    things_of_tests | while IFS='|' read -r kind id rest; do
        if is_old "$kind" "$id"; then
            printf '%s|%s|%s\n' "$kind" "$id" "$rest"
        fi
    done | remove_things
    sweep_networks
    for directory in "${TMPDIR:-/tmp}"/flipside-tests.*; do
        [ -f "$directory/pid" ] || continue
        [ -d "/proc/$(cat "$directory/pid")" ] || remove_directory "$directory"
    done
}

# sweep_run RUN: what this run has left.
sweep_run() {
    things_of_tests "$1" | remove_things
    sweep_networks "$1"
}
