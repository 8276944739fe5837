#!/usr/bin/env bash
# The main job, told on the terminal: deploy, deploy under load, a refusal, a rollback under load.
#
# Uses the Docker engine that answers; where none does and it may (root, or sudo without a
# password), installs the distribution's and starts it. Leaves nothing behind, unless --keep.
set -uo pipefail
home=$(cd "$(dirname "$0")/.." && pwd)
. "$home/tests/support/engine.sh"

usage() {
    cat <<'TEXT'
usage: examples/quickstart.sh [--keep] [--release]

  --keep      leave the service running, and say how to look at it and how to remove it
  --release   build with optimisation: takes some minutes longer
  --help      this
TEXT
}

keep=no
profile=debug
for argument in "$@"; do
    case "$argument" in
    --keep) keep=yes ;;
    --release) profile=release ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

service=${FLIPSIDE_QUICKSTART_NAME:-quickstart}
proxy=$service-proxy
work=$(mktemp -d "${TMPDIR:-/tmp}/flipside-quickstart.XXXXXX")
state=$work/state
load=""
child=""
up=no

# --- how it tells its story ----------------------------------------------------------------------

bold="" dim="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi
number=0
chapter() {
    number=$((number + 1))
    printf '\n%s%d  %s%s\n' "$bold" "$number" "$1" "$plain"
}
say() { printf '   %s\n' "$*"; }
fact() { printf '   %-22s %s\n' "$1" "$2"; }
fail() {
    printf '\n%s\n' "quickstart: $*" >&2
    exit 1
}

# flipside's own words, set off from the story; they are kept in a file as well.
flipside() {
    local log=$1
    shift
    printf '   %s$ flipside %s%s\n' "$dim" "$(words "$@")" "$plain"
    : >"$log"
    (cd "$work/shop" && exec "$work/flipside" --state "$state" --proxy "$proxy" "$@" </dev/null 2>&1) \
        >"$log" &
    child=$!
    # Ends once the command has: what a killed script leaves would follow the file for ever.
    tail --pid="$child" -n +1 -s 0.1 -f "$log" | sed -u 's/^/   | /'
    wait "$child"
    local code=$?
    child=""
    return "$code"
}

# The command without what only keeps this story apart from whatever else runs here.
words() {
    local line=""
    while [ $# -gt 0 ]; do
        case "$1 ${2:-}" in
        "--name "* | "--set PORT="*) shift ;;
        *) line="$line $1" ;;
        esac
        shift
    done
    printf '%s' "${line# }"
}

# --- leaving -------------------------------------------------------------------------------------

quietly() { "$work/flipside" --state "$state" --proxy "$proxy" "$@" >>"$work/end.log" 2>&1 </dev/null; }

# The proxy is this run's own, so it goes as well where other services keep theirs.
remove() {
    quietly down "$service" --yes
    quietly proxy down --yes
}

leave() {
    local code=$?
    trap '' INT TERM HUP
    trap - EXIT
    [ -z "$load" ] || { kill -TERM "$load" && wait "$load"; } 2>/dev/null
    [ -z "$child" ] || { kill -TERM "$child" && wait "$child"; } 2>/dev/null
    if [ "$keep" = yes ] && [ "$code" -eq 0 ]; then
        exit 0
    fi
    if [ "$up" = yes ]; then
        remove || cat "$work/end.log" >&2
    fi
    engine_end
    rm -rf "$work"
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# --- what it needs -------------------------------------------------------------------------------

printf '%sFlipside%s: stand up, prove, switch, keep the old one for an instant rollback\n' "$bold" "$plain"

export PATH=$PATH:/usr/sbin:/sbin
command -v cargo >/dev/null || fail "there is no Rust here: install it with rustup, then run this again"

chapter "A Docker engine"
if engine_answers; then
    say "one answers"
elif [ -n "${DOCKER_HOST:-}" ]; then
    fail "the engine at DOCKER_HOST=$DOCKER_HOST does not answer: start it, or unset DOCKER_HOST"
elif ! engine_may_act_as_root; then
    fail "no Docker engine answers: run this as root, or first: sudo apt-get install docker.io"
else
    if ! command -v dockerd >/dev/null; then
        say "none here; installing the distribution's (docker.io)"
        # shellcheck disable=SC2046 # A list of words.
        engine_install "$work/apt.log" $(engine_packages) || {
            tail -n 10 "$work/apt.log" >&2
            fail "could not install docker.io"
        }
    fi
    say "starting it"
    engine_answers || engine_start "$work" || fail "the Docker engine did not start"
    say "it answers"
fi

chapter "Building flipside and a small HTTP service"
say "$profile build; some minutes the first time, seconds after that"
from=$SECONDS
options=(--quiet --locked --bin flipside --example hello --example load)
# The pointers of AWS take a while to build, and this needs none of them.
[ -n "${FLIPSIDE_QUICKSTART_WHOLE:-}" ] || options+=(--no-default-features)
[ "$profile" = debug ] || options+=(--release)
(cd "$home" && exec cargo build "${options[@]}" </dev/null) &
child=$!
wait "$child" || fail "the build failed"
child=""
# Where cargo has put them, whatever target directory and target are set.
built=$(cd "$home" && cargo build "${options[@]}" --message-format json 2>/dev/null </dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
for name in flipside hello load; do
    path=$(printf '%s\n' "$built" | grep "/$name\$" | head -n 1)
    [ -n "$path" ] || fail "cargo built no $name"
    case "$name" in
    hello) mkdir -p "$work/shop" && cp "$path" "$work/shop/" ;;
    *) cp "$path" "$work/" ;;
    esac
done
cp "$home/examples/shop/Dockerfile" "$home/examples/shop/flipside.yaml" "$work/shop/"
say "done in $((SECONDS - from)) s"

free_port() {
    local port try
    for try in $(seq 200); do
        port=$((18000 + (RANDOM + try) % 2000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
    done
    return 1
}
port=$(free_port) || fail "no free port between 18000 and 20000"
address=127.0.0.1:$port
if quietly status "$service"; then
    fail "a service $service is here already, perhaps of an earlier run with --keep"
fi
: >"$work/end.log"

# --- the story -----------------------------------------------------------------------------------

story=$SECONDS
deploy() {
    local log=$1
    shift
    flipside "$log" deploy --name "$service" "$@" --set "PORT=$port" --yes
}

# answer: what the service says through the proxy.
answer() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$address" >&3
    while IFS= read -r -t 10 line <&3 || [ -n "$line" ]; do
        line=${line%$'\r'}
        if [ -z "$line" ]; then
            IFS= read -r -t 10 line <&3
            break
        fi
    done
    exec 3>&-
    printf '%s' "${line%$'\r'}"
}

served_by() {
    local said
    said=$(answer) || fail "nothing answers at http://$address/"
    [ "$said" = "$1" ] || fail "http://$address/ is served by version \"$said\", not by $1"
    say "http://$address/ answers: version $said"
}

chapter "Release 1 stands up and takes traffic through the embedded proxy"
up=yes
deploy "$work/1.log" --set VERSION=1 || fail "release 1 was not deployed"
served_by 1

chapter "Release 2 is deployed under live load"
"$work/load" "$address" --connections 8 --rest-ms 10 --seconds 300 >"$work/load.json" &
load=$!
say "8 connections now ask for / all the time"
deploy "$work/2.log" --set VERSION=2 || fail "release 2 was not deployed"
served_by 2

chapter "Release 3 is broken, and is refused"
say "its server ends as soon as it starts"
deploy "$work/3.log" --set VERSION=3 --set EXIT_AT_START=3
code=$?
[ "$code" -eq 3 ] || fail "release 3 was not refused: exit $code"
say "exit code 3: refused; what served before still serves"
served_by 2

chapter "Back to release 1, under live load"
flipside "$work/4.log" rollback "$service" --yes || fail "the rollback failed"
served_by 1
kill -TERM "$load" 2>/dev/null
wait "$load" || fail "the load generator failed"
load=""

# total NAME: of the load.
total() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$work/load.json"; }
# took WORD LOG: the time after a word in the numbers that flipside ends with.
took() { sed -n "s/.*\<$1 \([0-9.]* [^ ]*s\)\>.*/\1/p" "$2" | tail -n 1; }

failed=$(total failed)
switch=$(took switch "$work/2.log")
rollback=$(took rollback "$work/4.log")
[ -n "$switch" ] && [ -n "$rollback" ] || fail "flipside did not say how long switch and rollback took"

chapter "What it came to"
fact "requests sent" "$(total sent)"
fact "requests failed" "$failed"
fact "switch to release 2" "$switch"
fact "rollback to release 1" "$rollback"
fact "the whole story" "$((SECONDS - story)) s"
if [ "$failed" != 0 ]; then
    cat "$work/load.json" >&2
    fail "requests were lost"
fi

if [ "$keep" = yes ]; then
    command="$work/flipside --state $state --proxy $proxy"
    chapter "Left running, as --keep says"
    say "look:    $command status $service"
    say "         http://$address/"
    say "remove:  $command down $service --yes"
    say "         $command proxy down --yes"
    say "         rm -r $work"
    exit 0
fi

chapter "Removing it all"
quietly down "$service" --yes && quietly proxy down --yes || fail "could not remove $service"
up=no
say "containers, networks, images, proxy and files are gone"
