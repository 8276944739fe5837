#!/usr/bin/env bash
# Images for a real application, without a registry: what `python:3` and `postgres:15` are elsewhere.
#
# Makes the machine's own distribution in a directory, with its packages, from the mirror that apt
# uses here, and loads it into the engine: about two minutes and 300 MB, as root. Prints the names of
# the two images. They change with this file; where they are there, nothing is done.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/engine.sh"
. "$here/sweep.sh"

sum=$(sha256sum "$0" | cut -c1-12)
python=flipside-test-python:$sum
postgres=flipside-test-postgres:$sum

ready() {
    docker image inspect "$python" "$postgres" >/dev/null 2>&1 || return 1
    printf '%s\n' "$python" "$postgres"
    exit 0
}
fail() {
    echo "app_images.sh: $*" >&2
    exit 1
}
ready || engine_may_act_as_root || fail "needs root, to make a system in a directory"

# Another run may be making them; it keeps the lock by its open file, and no longer.
exec 9>"/tmp/flipside-app-images.lock"
flock 9
ready || true

work=$(mktemp -d "${TMPDIR:-/tmp}/flipside-app-images.XXXXXX")
root=$work/root
child=""
leave() {
    local code=$?
    set +e
    trap '' INT TERM HUP
    trap - EXIT
    [ -z "$child" ] || as_root kill -KILL -- "-$child" "$child" 2>/dev/null
    remove_directory "$work"
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step WORDS COMMAND…: in the background, so that a signal to this script is heard at once; its output
# is shown only where it fails.
step() {
    local what=$1
    shift
    "$@" >>"$work/log" 2>&1 9>&- </dev/null &
    child=$!
    wait "$child" || {
        tail -n 20 "$work/log" >&2
        fail "$what"
    }
    child=""
}

export PATH=$PATH:/usr/sbin:/sbin
command -v debootstrap >/dev/null ||
    step "debootstrap could not be installed" engine_install "$work/apt.log" debootstrap
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
read -r mirror components < <(
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$suite" '$2 == suite && $3 ~ /^(main|universe)$/ && !seen[$3]++ {
            if (!mirror) mirror = $1
            if ($1 == mirror) all = all "," $3
        } END { print mirror, substr(all, 2) }'
)
[ -n "$mirror" ] || fail "apt names no mirror of $suite"
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"

# In a session of its own it is ended with all that it has started.
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
step "the system could not be made from $mirror" \
    setsid "${sudo[@]}" env ${http_proxy:+http_proxy="$http_proxy"} debootstrap \
    --variant=minbase --components="$components" \
    --include=python3-flask,python3-psycopg2,python3-pip,postgresql \
    "$suite" "$root" "$mirror"

# Only what runs: no package lists, no documents, no compiler for queries.
as_root rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale} \
    "$root"/usr/lib/postgresql/*/lib/{bitcode,llvmjit*} "$root"/usr/lib/*/libLLVM*
as_root ln -s python3 "$root/usr/bin/python"

# Under this name packages are had that need no compiler; and pip may do here what it may elsewhere.
as_root sh -s "$root" <<'TEXT'
set -e
cd "$1/usr/lib/python3/dist-packages"
for from in psycopg2-*.egg-info; do
    to=psycopg2_binary-${from#psycopg2-}
    cp -r "$from" "$to"
    [ -d "$to" ] && file=$to/PKG-INFO || file=$to
    sed -i 's/^Name: psycopg2$/Name: psycopg2-binary/' "$file"
done
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
cat >"$1/usr/local/bin/docker-entrypoint.sh" <<'SCRIPT'
#!/bin/sh
# As the entrypoint of the image that is had elsewhere: the first start makes the database.
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
PATH=$bin:$PATH
data=${PGDATA:-/var/lib/postgresql/data}
user=${POSTGRES_USER:-postgres}
as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
mkdir -p "$data" /var/run/postgresql
chown postgres:postgres "$data" /var/run/postgresql
chmod 700 "$data"
if [ ! -s "$data/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" >/run/password
    chown postgres /run/password
    as initdb --username="$user" --pwfile=/run/password --auth-host=scram-sha-256 "$data"
    rm /run/password
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    # Not yet for others: who asks for it over the network must find it whole.
    as pg_ctl -D "$data" -o "-c listen_addresses=''" -w start
    as createdb --username="$user" "${POSTGRES_DB:-$user}" || true
    as pg_ctl -D "$data" -m fast -w stop
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups -- \
    "$bin/postgres" -D "$data" -c listen_addresses='*' -c jit=off "$@"
SCRIPT
chmod 755 "$1/usr/local/bin/docker-entrypoint.sh"
TEXT

bin=$(cd "$root" && echo usr/lib/postgresql/*/bin)
as_root tar -C "$root" --one-file-system -c . |
    docker import --change 'LABEL flipside.test=app' --change 'CMD ["python3"]' - "$python" >/dev/null
mkdir "$work/postgres"
cat >"$work/postgres/Dockerfile" <<TEXT
FROM $python
ENV PATH=/$bin:/usr/local/bin:/usr/bin:/bin
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["docker-entrypoint.sh"]
CMD []
TEXT
step "the database's image could not be made" \
    env DOCKER_BUILDKIT=0 docker build --tag "$postgres" "$work/postgres"
printf '%s\n' "$python" "$postgres"
