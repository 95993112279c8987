#!/usr/bin/env python3
"""Runs the test programs that cargo has built: run-tests.py MESSAGES TOP

MESSAGES is the output of "cargo build --all-targets --message-format=json", TOP the
workspace. It does what "cargo test" does after building, so that one user can build and
another, who needs to be root, can run.

Exit status: 0 if every program passed, 1 otherwise.
"""
import json
import os
import subprocess
import sys

# Far more than any program needs, to stop one that hangs.
LIMIT_S = 900


def programs(messages):
    """(executable, package directory) of every test program, in build order."""
    with open(messages, encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line) if line.startswith("{") else {}
            # A target with `test = false` is compiled as a test all the same.
            wanted = message.get("profile", {}).get("test") and message["target"]["test"]
            if message.get("executable") and wanted:
                yield message["executable"], os.path.dirname(message["manifest_path"])


def run(executable, package, top):
    """Whether the program passed."""
    name = f"{os.path.relpath(package, top)}: {os.path.basename(executable)}"
    print(f"\n     Running {name}", flush=True)
    command = [executable, "--nocapture"]
    if os.path.basename(package) == "tests":
        # With namespaces and pinned workers, two tests at a time would slow each other
        # down.
        command.append("--test-threads=1")
    environment = dict(os.environ, CARGO_MANIFEST_DIR=package)
    try:
        status = subprocess.run(command, cwd=package, env=environment, check=False, timeout=LIMIT_S).returncode
    except subprocess.TimeoutExpired:
        print(f"FAILED: {name} did not end within {LIMIT_S} s", flush=True)
        return False
    if status != 0:
        print(f"FAILED: {name} ended with status {status}", flush=True)
    return status == 0


def main():
    messages, top = sys.argv[1:]
    found = list(programs(messages))
    if not found:
        sys.exit(f"no test program in {messages}")
    results = [run(executable, package, top) for executable, package in found]
    sys.exit(0 if all(results) else 1)


main()
