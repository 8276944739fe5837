#!/usr/bin/env python3
"""HAProxy as flipside's pointer, by a command: `exec-pointer.py SOCKET BACKEND NOTE [URL]`.

The protocol is in `flipside help exec`. The servers of BACKEND are blue1, blue2, … and green1,
green2, …; any others are what served before. NOTE is the file for what flipside gives to keep.
A reload of HAProxy forgets what is set here: the pointer `haproxy` does not.

With URL, where the service is reached, a release can be shown before the switch to those who ask
with the header `X-Preview: yes`: its servers are ready at weight 0. BACKEND needs, for each slot,
`use-server blue1 if { req.hdr(x-preview) -m str yes } { srv_is_up(blue1) } { srv_weight(blue1) 0 }`.
"""

import contextlib
import csv
import fcntl
import json
import os
import socket
import sys
import time


def say(*commands):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(PLACE)
        stream.sendall((";".join(commands) + "\n").encode())
        return b"".join(iter(lambda: stream.recv(65536), b"")).decode()


def state(admin):
    return "maint" if admin & 0x23 else "drain" if admin & 0x18 else "ready"


def servers():
    said = say(f"show servers state {BACKEND}")
    if "#" not in said:
        sys.exit(said.strip())
    _, head, *rows = said.strip().splitlines()
    rows = [dict(zip(head.lstrip("# ").split(), row.split())) for row in rows]
    return {row["srv_name"]: [f"{row['srv_addr']}:{row['srv_port']}", int(row["srv_uweight"]),
                              state(int(row["srv_admin_state"]))] for row in rows}


def slot(name):
    return next((s for s in ("blue", "green") if name.removeprefix(s).isdigit()), None)


def kept():
    with contextlib.suppress(FileNotFoundError), open(NOTE) as file:
        return file.read()


def read(_):
    routes, every = {}, servers()
    for name, (at, weight, admin) in every.items():
        if admin == "ready":
            route = routes.setdefault(slot(name), {"slot": slot(name), "weight": 0, "endpoints": []})
            route["weight"] += weight
            route["endpoints"].append(at)
    shown = [route for route in routes.values() if route["slot"] and not route["weight"]]
    return {"routes": list(routes.values()), "preview": shown[0] if shown else None,
            "servers": every, "note": kept()}


def arrange(found, desired):
    """Each server as it shall be: those that no route names drain."""
    want = dict(desired.get("servers") or {
        name: [at, weight, admin if admin != "ready" else "drain" if weight else "maint"]
        for name, (at, weight, admin) in found.items()})
    shown, routes = desired.get("preview"), [] if "servers" in desired else desired["routes"]
    for route in routes + ([shown | {"weight": 0}] if shown else []):
        names, replicas = [n for n in found if slot(n) == route["slot"]], len(route["endpoints"])
        if replicas > len(names):
            return None
        share, more = divmod(route["weight"], replicas)
        for number, (name, at) in enumerate(zip(names, route["endpoints"])):
            want[name] = [at, share + (number < more), "ready"]
    return want


def write(request):
    found, desired = read(request), request["desired"]
    if found != request["expected"]:
        return {"refused": "moved"}
    found = found["servers"]
    want = arrange(found, desired)
    if want is None:
        return {"refused": f"the backend `{BACKEND}` has fewer servers than there are replicas"}
    # The note first: where the rest is cut off, it says what was meant.
    with open(NOTE + ".new", "w") as file:
        file.write(desired["note"])
        os.fsync(file.fileno())
    os.rename(NOTE + ".new", NOTE)
    first, then = [], []
    for name, (at, weight, admin) in want.items():
        one, server = f"{BACKEND}/{name}", found[name]
        if at != server[0]:
            host, _, port = at.rpartition(":")
            first.append(f"set server {one} addr {host.strip('[]')} port {port}")
        if weight != server[1]:
            first.append(f"set server {one} weight {weight}")
        if admin != server[2]:
            (first if admin == "ready" else then).append(f"set server {one} state {admin}")
    print(say(*first, *then).strip(), file=sys.stderr)
    return {"ok": True}


def settled(request):
    leaving = [name for name, (_, _, admin) in servers().items() if admin == "drain"]

    def count():
        rows = csv.DictReader(say(f"show stat {BACKEND} 4 -1").lstrip("# ").splitlines())
        return sum(int(row["scur"]) for row in rows if row["svname"] in leaving)

    began = left = count()
    end = time.monotonic() + request["limit_ms"] / 1000
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = count()
    for name in leaving:
        cut = f";shutdown sessions server {BACKEND}/{name}" if left else ""
        say(f"set server {BACKEND}/{name} state maint{cut}")
    return {"in_flight": began, "finished": max(began - left, 0), "cut": left}


def ask(request):
    """As one who wants the preview."""
    import urllib.error  # Slow to load, and only needed here.
    import urllib.request
    wanted = urllib.request.Request(URL.rstrip("/") + request["path"], headers={"X-Preview": "yes"})
    try:
        with urllib.request.urlopen(wanted, timeout=3) as answer:
            return {"status": answer.status}
    except urllib.error.HTTPError as answer:
        return {"status": answer.code}


def remove(_):
    for name in filter(slot, servers()):
        say(f"set server {BACKEND}/{name} state maint")
    with contextlib.suppress(FileNotFoundError):
        os.remove(NOTE)
    return {"ok": True}


def capabilities(_):
    return {"v": 1, "weighted": True, "drains": True, "counts": True, "atomic": False,
            "settle_ms": 0, "guard": "checked",
            "preview": f"curl -H 'X-Preview: yes' {URL}" if URL else None}


PLACE, BACKEND, NOTE, URL = (sys.argv[1:] + [""])[:4]
asked = json.load(sys.stdin)
if asked["v"] != 1:
    sys.exit("this command speaks version 1 of the protocol")
with open(NOTE + ".lock", "w") as lock:
    if asked["op"] in ("write", "remove"):
        fcntl.flock(lock, fcntl.LOCK_EX)
    ops = {f.__name__: f for f in (capabilities, read, write, settled, ask, remove)}
    print(json.dumps(ops[asked["op"]](asked)))
