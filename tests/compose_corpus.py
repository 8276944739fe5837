#!/usr/bin/env python3
"""Reads every Compose file of a directory as a team would, and says how far that comes.

    tests/compose_corpus.py DIRECTORY [--flipside PROGRAM] [--list]

For each file: `flipside init --yes` proposes a plan, `flipside check --keys` reads it. What the files
name and a directory of single files cannot hold (values of variables, env files, build contexts, what
is bound) is made, empty, in a temporary directory. Then the files are read a second time, by another
YAML 1.2 parser, and every value of theirs must be accounted for.

It ends with 1 where flipside panicked, passed something over in silence, or fewer than 90 in 100 files
end in a good plan. Needs Python 3.11 and ruamel.yaml; touches no engine.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import ruamel.yaml

GOAL = 0.90
KEYS = ["--keys"]


def stand_in(name):
    """A value for a variable of that name which fits where such names are used."""
    upper = name.upper()
    has = lambda *words: any(word in upper for word in words)
    if has("PORT"):
        return "8080"
    if has("PATH", "_DIR", "LOCATION", "FOLDER", "VOLUME", "STORAGE", "UPLOAD"):
        return f"./data/{name.lower()}"
    if has("URL", "URI"):
        return "https://example.org"
    if has("REPLICAS", "WORKERS", "COUNT"):
        return "1"
    return "x1"


def independent(path):
    """The file as another parser of YAML 1.2 reads it."""
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.version = (1, 2)

    def directive(loader, tag_suffix, node):
        if isinstance(node, ruamel.yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, ruamel.yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    yaml.Constructor.add_multi_constructor("!", directive)
    return yaml.load(path.read_text(encoding="utf-8-sig"))


def leaves(tree, path=()):
    """Where every value stands; an empty map or list is one."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path


def listed(value):
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def substituted(text, values):
    """`${NAME}` and `${NAME:-default}` with the stand-ins, as far as paths need it."""
    def one(found):
        name, default = found.group(1), found.group(3)
        return values.get(name) or (default if default is not None else "")
    return re.sub(r"\$\{(\w+)(:?-([^}]*))?\}", one, str(text))


def make_files(tree, directory, values):
    """Makes what the file names and is not there: a directory of single files has none of it."""
    def place(text):
        return (directory / substituted(text, values)).resolve()

    def file(text, content=""):
        path = place(text)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    for service in (tree.get("services") or {}).values():
        if not isinstance(service, dict):
            continue
        for entry in listed(service.get("env_file")):
            file(entry["path"] if isinstance(entry, dict) else entry)
        build = service.get("build")
        if build is not None:
            build = {"context": build} if isinstance(build, str) else build
            context = place(build.get("context", "."))
            context.mkdir(parents=True, exist_ok=True)
            dockerfile = context / build.get("dockerfile", "Dockerfile")
            dockerfile.parent.mkdir(parents=True, exist_ok=True)
            if not dockerfile.exists():
                dockerfile.write_text("FROM scratch\n")
        for entry in listed(service.get("volumes")):
            if isinstance(entry, dict):
                source = entry.get("source") if entry.get("type") == "bind" else None
            else:
                source = substituted(entry, values).split(":")[0]
                source = source if ":" in substituted(entry, values) else None
            if not source or not str(source).startswith("."):
                continue
            last = str(source).rstrip("/").rsplit("/", 1)[-1]
            if "." in last or last == "Caddyfile":
                file(source)
            else:
                place(source).mkdir(parents=True, exist_ok=True)
    for section in ("secrets", "configs"):
        for entry in (tree.get(section) or {}).values():
            if isinstance(entry, dict) and entry.get("file"):
                file(entry["file"], "x")


class Reading:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "FLIPSIDE_STATE": str(directory / "state"),
        }
        self.crashed = None

    def run(self, *arguments):
        done = subprocess.run(
            [self.program, *arguments, "--output", "json"],
            cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )
        if done.returncode not in (0, 2, 4) or "panicked" in done.stderr:
            self.crashed = f"exit {done.returncode}: {done.stderr[:400]}"
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return done, events


def last(events, kind):
    found = [event for event in events if event.get("event") == kind]
    return found[-1] if found else None


def read(program, source):
    """What came of one file."""
    result = {"file": source.name, "state": "refused", "why": [], "decisions": 0, "values": 0,
              "guess": False, "lost": [], "crashed": None, "fates": collections.Counter()}
    with tempfile.TemporaryDirectory(prefix="flipside-corpus-") as above:
        # Paths such as `../x` stay inside.
        directory = pathlib.Path(above) / "a" / "b" / "app"
        directory.mkdir(parents=True)
        compose = directory / "compose.yaml"
        compose.write_bytes(source.read_bytes())
        tree = independent(compose)
        reading = Reading(program, directory)
        values = {}
        for _ in range(50):
            done, events = reading.run("init", "--from", "compose.yaml", "-o", "-")
            drafted = last(events, "drafted")
            missing = [name for name in (drafted or {}).get("unset", []) if name not in values]
            missing += [name for name in re.findall(r"the variable `(\w+)` is", done.stderr)
                        if name not in values]
            if not missing:
                break
            values.update({name: stand_in(name) for name in missing})
            (directory / ".env").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
        make_files(tree, directory, values)
        done, events = reading.run("init", "--from", "compose.yaml", "--yes")
        drafted = last(events, "drafted")
        if drafted:
            result["decisions"] = drafted["decisions"]
            result["guess"] = "A GUESS" in drafted["plan"]
        for _ in range(50):
            done, events = reading.run("check", *KEYS)
            missing = [name for name in re.findall(r"the variable `(\w+)` is", done.stderr)
                       if name not in values]
            if done.returncode != 2 or not missing:
                break
            values.update({name: stand_in(name) for name in missing})
            (directory / ".env").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
        result["values"] = len(values)
        keys = [entry for event in events if event.get("event") == "keys" for entry in event["keys"]]
        told = {tuple(entry["path"]): entry["fate"] for entry in keys
                if entry["file"].endswith("compose.yaml")}
        result["fates"].update(told.values())
        result["lost"] = [".".join(path) for path in leaves(tree) if path not in told]
        result["lost"] += [".".join(path) for path, fate in told.items() if fate == "unread"]
        if done.returncode == 0:
            result["state"] = "good"
        else:
            result["why"] = [line for line in done.stderr.splitlines()
                             if re.search(r"\.yaml:\d+:\d+: ", line)][:3] or [done.stderr[:300]]
        result["crashed"] = reading.crashed
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--flipside", default="flipside")
    parser.add_argument("--list", action="store_true", help="each file, not only what failed")
    arguments = parser.parse_args()
    program = arguments.flipside
    if os.sep in program:
        program = str(pathlib.Path(program).resolve())
    files = sorted(path for path in arguments.directory.iterdir()
                   if path.suffix in (".yml", ".yaml"))
    if not files:
        sys.exit(f"{arguments.directory} holds no Compose file")
    results = [read(program, path) for path in files]
    good = [result for result in results if result["state"] == "good"]
    fates = sum((result["fates"] for result in results), collections.Counter())
    for result in results:
        if arguments.list:
            print(f"{result['state']:8} {result['decisions']:3} decisions, "
                  f"{result['values']:3} values  {result['file']}")
        if result["state"] != "good":
            print(f"refused: {result['file']}")
            for line in result["why"]:
                print(f"    {line}")
        if result["lost"]:
            print(f"LOST in {result['file']}: {', '.join(result['lost'][:10])}")
        if result["crashed"]:
            print(f"CRASHED on {result['file']}: {result['crashed']}")
    decided = [result for result in good if result["decisions"] > 3]
    lost = sum(bool(result["lost"]) for result in results)
    crashed = sum(bool(result["crashed"]) for result in results)
    print(f"\n{len(results)} files: {len(good)} end in a good plan ({len(good) / len(results):.1%}), "
          f"{len(results) - len(good)} are refused")
    print(f"decisions beyond the way in: {len(decided)} files, "
          f"{sum(result['decisions'] for result in good)} in all; "
          f"values to give: {sum(result['values'] > 0 for result in results)} files; "
          f"a guessed port: {sum(result['guess'] for result in good)} files")
    total = sum(fates.values())
    print(f"values: {total}: " + ", ".join(
        f"{fate} {count} ({count / total:.1%})" for fate, count in fates.most_common()))
    print(f"panics: {crashed}; silent losses: {lost}")
    if crashed or lost or len(good) < GOAL * len(results):
        sys.exit(1)


if __name__ == "__main__":
    main()
