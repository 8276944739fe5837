#!/usr/bin/env bash
# The one test command: format, lints, house rules, fast tests, tests on a real Docker engine.
#
# Installs what is missing (as root or with sudo), starts an engine where none answers and ends it
# again. Nothing is skipped silently: what could not run fails, unless --fast asked for less.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/support/engine.sh
. tests/support/sweep.sh

usage() {
    cat <<'TEXT'
usage: tests/run.sh [--fast]

  --fast   only the part that needs no Docker engine
  --help   this
TEXT
}

part=all
for argument in "$@"; do
    case "$argument" in
    --fast) part=fast ;;
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

scratch=$(mktemp -d "${TMPDIR:-/tmp}/flipside-tests.XXXXXX")
echo $$ >"$scratch/pid"
began=$SECONDS
child=""
swept=no
run=$(od -An -N2 -tx1 /dev/urandom | tr -d ' \n')

title() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }

leave() {
    local code=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    [ "$swept" = no ] || sweep_run "$run"
    engine_end
    remove_directory "$scratch"
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

fail() {
    printf '\nFAILED after %d s: %s\n' "$((SECONDS - began))" "$*" >&2
    exit 1
}

# run COMMAND…: a child that a signal to this script reaches at once. A function that ends in a
# long command is that command (exec): else the signal would end its shell alone.
run() {
    "$@" </dev/null &
    child=$!
    wait "$child"
    local code=$?
    child=""
    return "$code"
}

# step TITLE COMMAND…
step() {
    local name=$1 from=$SECONDS
    shift
    title "$name"
    run "$@" || fail "$name"
    note "ok, $((SECONDS - from)) s"
}

# --- what the tests need -------------------------------------------------------------------------

missing() {
    local package
    for pair in cc:gcc ld:binutils perl:perl-base "$@"; do
        package=${pair#*:}
        command -v "${pair%%:*}" >/dev/null || [ -x "/usr/sbin/${pair%%:*}" ] || echo "$package"
    done | sort -u
}

need() {
    local packages
    packages=$(missing "$@")
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # A list of words.
    set -- $packages
    engine_may_act_as_root ||
        fail "missing: $*; as root: apt-get install $*, then run this again"
    title "Installing $*"
    engine_install "$scratch/apt.log" "$@" || {
        tail -n 20 "$scratch/apt.log" >&2
        fail "could not install $*"
    }
    # Which packages hold engine and client is known only now, with fresh package lists.
    case " $* " in
    *" docker.io "*)
        # shellcheck disable=SC2046 # A list of words.
        engine_install "$scratch/apt.log" $(engine_packages) || {
            tail -n 20 "$scratch/apt.log" >&2
            fail "could not install the engine"
        }
        ;;
    esac
}

export PATH=$PATH:/usr/sbin:/sbin
command -v cargo >/dev/null || fail "no Rust here: install it with rustup, then run this again"
if [ "$part" = all ]; then
    need docker:docker.io dockerd:docker.io iptables:iptables ip:iproute2 nsenter:util-linux \
        docker-registry:docker-registry docker-compose:docker-compose \
        haproxy:haproxy nginx:nginx nft:nftables conntrack:conntrack \
        named:bind9 nsupdate:bind9-dnsutils knotd:knot
else
    need
fi
python3 -c 'import ensurepip' 2>/dev/null || need no-venv:python3 no-venv:python3-venv
for component in fmt:rustfmt clippy:clippy; do
    cargo "${component%%:*}" --version >/dev/null 2>&1 ||
        run rustup component add "${component#*:}" ||
        fail "cargo ${component%%:*} is missing: rustup component add ${component#*:}"
done

# --- without an engine ---------------------------------------------------------------------------

if cargo nextest --version >/dev/null 2>&1; then
    runner=nextest
    tests_house() { exec cargo nextest run --locked --test it -E 'test(/^house_rules::/)'; }
    tests_fast() { exec cargo nextest run --locked -E 'not test(real_) and not test(/^house_rules::/)'; }
    # They wait for engines and servers more than for a processor.
    tests_real() { exec cargo nextest run --locked --test-threads $(($(nproc) + 1)) -E 'test(real_)'; }
else
    runner="cargo test"
    # No guard for each test here, so one for all of them.
    tests_house() { exec timeout 10m cargo test --locked --test it -- house_rules::; }
    tests_fast() {
        exec timeout 20m cargo test --locked --no-fail-fast --lib --bins --tests -- \
            --skip real_ --skip house_rules::
    }
    tests_real() {
        exec timeout 35m cargo test --locked --no-fail-fast --lib --bins --tests -- \
            real_ --test-threads=4
    }
fi

# Another YAML parser, and a server that answers as AWS does.
python_packages() {
    python3 -m venv target/venv &&
        target/venv/bin/pip install --quiet --disable-pip-version-check \
            ruamel.yaml==0.19.1 'moto[server]==5.2.5'
}

# Whole Compose files through `init` and `check`, each value of theirs accounted for.
tests_compose() {
    exec target/venv/bin/python tests/compose_corpus.py tests/compose \
        --flipside "$(find target -path '*/debug/flipside' -type f | head -n 1)"
}

step "Format" cargo fmt --check
step "Fetch" cargo fetch --locked --quiet
step "Lints" cargo clippy --locked --all-targets --quiet -- -D warnings
step "Check without AWS" cargo check --locked --quiet --no-default-features --bins --examples
step "Build" cargo build --locked --quiet --bins --examples
step "House rules ($runner)" tests_house
step "Documentation's examples" cargo test --locked --quiet --doc
step "Python packages" python_packages
step "Fast tests ($runner)" tests_fast
step "Compose files, read a second time by another parser" tests_compose

if [ "$part" = fast ]; then
    printf '\nThe part without an engine passed in %d s; the tests on a real engine were left out, as --fast asked.\n' \
        "$((SECONDS - began))"
    exit 0
fi

# --- with an engine ------------------------------------------------------------------------------

title "Engine"
if engine_answers; then
    note "one answers: $(docker version --format '{{.Server.Version}}')"
elif [ -n "${DOCKER_HOST:-}" ]; then
    fail "the engine at DOCKER_HOST=$DOCKER_HOST does not answer: start it, or unset DOCKER_HOST"
else
    engine_may_act_as_root ||
        fail "no Docker engine answers: start one (as root: dockerd), or run this as root"
    engine_start "$scratch" || fail "the Docker engine did not start"
    note "none answered; started $(docker version --format '{{.Server.Version}}'), ended at the end"
fi

sweep_old
swept=yes
export FLIPSIDE_TEST_RUN=$run
mkdir "$scratch/t" && export TMPDIR=$scratch/t

proxy_images >"$scratch/images"
step "An application's images" tests/support/app_images.sh
step "Tests on the engine ($runner)" tests_real

# Images that all tests share are nobody's to remove before the end. The engine refuses a parent
# while a child of it is there, so this goes from the leaves to the root.
remove_shared_images() {
    local ids before=
    while ids=$(docker images --quiet --filter label=flipside.test | sort -u) && [ -n "$ids" ]; do
        [ "$ids" != "$before" ] || return 1
        before=$ids
        # shellcheck disable=SC2086 # A list of ids.
        docker rmi --force $ids >"$scratch/rmi.log" 2>&1 || continue
    done
}
remove_shared_images || {
    tail -n 5 "$scratch/rmi.log" >&2
    fail "could not remove the tests' images"
}

left=$(things_of_tests "$run" | awk -F'|' '{ print "   " $1 " " $2 " " $3 " " $4 }')
left+=$(proxy_images | comm -13 "$scratch/images" - | sed 's/^/   image of a proxy /')
if [ -n "$left" ]; then
    printf '\nThe tests left behind:\n%s\n' "$left" >&2
    fail "tests must remove what they make"
fi

printf '\nAll passed in %d s; nothing was left behind.\n' "$((SECONDS - began))"
