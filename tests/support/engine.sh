# A Docker engine for scripts: is there one, install the distribution's, start it, end it again.
# Sourced by tests/run.sh and examples/quickstart.sh; does nothing by itself.
#
# An engine started here is detached from the script, with its output in a file: a daemon that
# holds a script's output open hangs whatever waits for that output to end. `engine_end` ends only
# what `engine_start` began.

ENGINE_SOCKET=/var/run/docker.sock
ENGINE_STARTED=""

# Whether this user may act as root here, without being asked for a password.
engine_may_act_as_root() {
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

engine_answers() {
    if command -v docker >/dev/null; then
        timeout 10 docker version >/dev/null 2>&1
        return
    fi
    case "${DOCKER_HOST:-unix://$ENGINE_SOCKET}" in
    unix://*) engine_socket_answers "${DOCKER_HOST:-unix://$ENGINE_SOCKET}" ;;
    *) return 0 ;; # Another machine's: the first command that needs it tells what is wrong.
    esac
}

# perl-base is on every Debian and Ubuntu; a client of the engine is not.
engine_socket_answers() {
    perl -MIO::Socket::UNIX -e '
        alarm 10;
        my $engine = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1;
        print $engine "GET /_ping HTTP/1.0\r\n\r\n";
        exit(<$engine> =~ m{^HTTP/1\.. 200} ? 0 : 1);
    ' "${1#unix://}" 2>/dev/null
}

# engine_install LOG PACKAGE…
engine_install() {
    local log=$1
    shift
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get -qy install --no-install-recommends "$@"
    } >>"$log" 2>&1 </dev/null
}

# The packages that hold engine and client here: newer Debians have the client in its own.
engine_packages() {
    echo docker.io iptables
    if apt-cache show docker-cli 2>/dev/null | grep -q '^Package: docker-cli$'; then
        echo docker-cli
    fi
}

# engine_start DIRECTORY: starts the engine and waits for it; its log and pid file go there.
engine_start() {
    local directory=$1
    if [ -d /run/systemd/system ] && systemctl cat docker.service >/dev/null 2>&1; then
        as_root systemctl start docker.service || return 1
        ENGINE_STARTED=systemd
    else
        ENGINE_STARTED=$directory/dockerd.pid
        as_root setsid nohup dockerd --pidfile "$ENGINE_STARTED" --group "$(id -gn)" \
            >"$directory/dockerd.log" 2>&1 </dev/null &
    fi
    local waited=0
    until engine_answers; do
        if [ "$waited" -ge 60 ]; then
            [ ! -f "$directory/dockerd.log" ] || tail -n 20 "$directory/dockerd.log" >&2
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
    done
}

# Ends the engine if `engine_start` started it by hand; one of the distribution's own service
# manager is stopped.
engine_end() {
    local started=$ENGINE_STARTED
    ENGINE_STARTED=""
    case "$started" in
    "") return 0 ;;
    systemd)
        as_root systemctl stop docker.service docker.socket >/dev/null 2>&1
        return 0
        ;;
    esac
    local pid waited=0
    pid=$(as_root cat "$started" 2>/dev/null) || return 0
    as_root kill -TERM "$pid" 2>/dev/null
    while as_root kill -0 "$pid" 2>/dev/null; do
        if [ "$waited" -ge 200 ]; then
            as_root kill -KILL "$pid" 2>/dev/null
            break
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
    return 0
}
