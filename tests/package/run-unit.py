#!/usr/bin/env python3
"""Starts a unit as systemd would, without systemd: run-unit.py UNIT NOTIFY_SOCKET

Reads the unit, applies its settings, and executes the command of its ExecStart=.
Supported are the condition, user and groups, capabilities, no new privileges, limits, the
runtime and state folder, ProtectSystem=strict with ReadWritePaths=, ProtectHome=,
PrivateTmp=, RestrictAddressFamilies= and SystemCallFilter= (by a seccomp filter). Not
supported are the device and IP filters, which systemd attaches to a cgroup, and settings
that only restrict loading modules, setting clocks and the like. Must run as root in a
mount namespace that it may change.

Its own exit status: 77 if the condition does not hold, 78 for a setting that it does not
understand.
"""
import ctypes
import grp
import os
import pwd
import re
import resource
import shlex
import socket
import struct
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13,
                "CAP_IPC_LOCK": 14, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24,
                "CAP_PERFMON": 38, "CAP_BPF": 39}


def fail(text):
    print(f"run-unit: {text}", file=sys.stderr)
    sys.exit(78)


def check(code, what):
    if code != 0:
        fail(f"{what}: {os.strerror(ctypes.get_errno())}")


def read_unit(path):
    """Every setting with its values, in order."""
    settings = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, separator, value = line.strip().partition("=")
            if separator and not key.startswith(("#", ";")):
                settings.setdefault(key, []).append(value)
    return settings


def mount(source, target, kind, flags, data=None):
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    check(LIBC.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), f"mount on {target}")


def points_below(folder):
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        points = [line.split()[4] for line in lines]
    prefix = folder.rstrip("/") + "/"
    return [point for point in points if point == folder or point.startswith(prefix)]


def protect(unit):
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    writable = []
    for word in " ".join(unit.get("ReadWritePaths", [])).split():
        if os.path.isdir(word.lstrip("-")):
            writable.append(word.lstrip("-"))
        elif not word.startswith("-"):
            fail(f"ReadWritePaths={word}: not there")
    writable += [f"/run/{unit['RuntimeDirectory'][0]}", f"/var/lib/{unit['StateDirectory'][0]}"]
    if unit.get("ProtectSystem") == ["strict"]:
        for folder in writable:
            mount(folder, folder, None, MS_BIND | MS_REC)
        for point in points_below("/"):
            inside = any((point + "/").startswith(folder + "/") for folder in writable)
            if not inside and not re.match("/(dev|proc|sys)(/|$)", point):
                flags = MS_REMOUNT | MS_BIND | MS_RDONLY
                LIBC.mount(None, os.fsencode(point), None, flags, None)
    elif "ProtectSystem" in unit:
        fail(f"ProtectSystem={unit['ProtectSystem']}")
    if unit.get("ProtectHome") == ["yes"]:
        for folder in ("/home", "/root", "/run/user"):
            if os.path.isdir(folder):
                mount("tmpfs", folder, "tmpfs", MS_RDONLY, "mode=000")
    if unit.get("PrivateTmp") == ["yes"]:
        for folder in ("/tmp", "/var/tmp"):
            mount("tmpfs", folder, "tmpfs", MS_NOSUID, "mode=1777")


def system_calls(unit):
    """The numbers of the allowed system calls."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", encoding="utf-8") as text:
        numbers = {name: int(n) for name, n in re.findall(r"#define __NR_(\w+) (\d+)", text.read())}

    def expand(word):
        if not word.startswith("@"):
            return {word}
        listed = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        # systemd 255 (Ubuntu 24.04) colours groups even without a terminal.
        listed = re.sub("\x1b\\[[0-9;]*m", "", listed)
        names = [line.strip() for line in listed.splitlines()[1:] if line.startswith("    ")]
        return set().union(*(expand(name) for name in names if not name.startswith("#")))

    allowed = expand("@default")
    for line in unit["SystemCallFilter"]:
        for word in line.lstrip("~").split():
            allowed = allowed - expand(word) if line.startswith("~") else allowed | expand(word)
    # System calls that starting needs, and that systemd makes before the filter applies.
    return sorted(numbers[name] for name in allowed if name in numbers)


def seccomp(unit):
    """The BPF filter: socket() by family, then the system calls."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | 1, 0x80000000
    code = [(load, 0, 0, 4), (jump_equal, 1, 0, 0xC000003E), (give, 0, 0, kill), (load, 0, 0, 0)]
    families = [getattr(socket, name, 44) for name in unit["RestrictAddressFamilies"][0].split()]
    check_family = [(load, 0, 0, 16)]
    for family in families:
        check_family += [(jump_equal, 0, 1, family), (give, 0, 0, allow)]
    check_family.append((give, 0, 0, 0x00050000 | 97))
    code.append((jump_equal, 0, len(check_family), 41))
    code += check_family
    for number in system_calls(unit):
        code += [(jump_equal, 0, 1, number), (give, 0, 0, allow)]
    code.append((give, 0, 0, refuse))
    packed = b"".join(struct.pack("HBBI", *one) for one in code)
    keep = ctypes.create_string_buffer(packed)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(keep)))
    return keep, program


def folders(unit, uid, gid):
    for setting, base, mode in (("RuntimeDirectory", "/run", 0o755), ("StateDirectory", "/var/lib", 0o755)):
        folder = os.path.join(base, unit[setting][0])
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, int(unit.get(setting + "Mode", [oct(mode)[2:]])[0], 8))
        os.chown(folder, uid, gid)


def limits(unit):
    for setting, which in (("LimitMEMLOCK", resource.RLIMIT_MEMLOCK), ("LimitNOFILE", resource.RLIMIT_NOFILE)):
        value = unit[setting][0]
        number = resource.RLIM_INFINITY if value == "infinity" else int(value)
        try:
            resource.setrlimit(which, (number, number))
        except ValueError:
            # In a container the limit may not be raised; the existing one must do.
            hard = resource.getrlimit(which)[1]
            resource.setrlimit(which, (hard, hard))


def give_up(unit, user):
    """Sets user, groups and capabilities, as systemd does between fork and exec."""
    def mask(setting):
        words = " ".join(unit.get(setting, [])).split()
        return sum(1 << CAPABILITIES[word] for word in words)

    bounding, ambient = mask("CapabilityBoundingSet"), mask("AmbientCapabilities")
    for capability in range(41):
        if not bounding >> capability & 1:
            check(LIBC.prctl(24, capability, 0, 0, 0), "bounding set")
    check(LIBC.prctl(8, 1, 0, 0, 0), "keep capabilities")
    os.initgroups(user.pw_name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    header = struct.pack("II", 0x20080522, 0)
    low, high = ambient & 0xFFFFFFFF, ambient >> 32
    check(LIBC.capset(header, struct.pack("6I", low, low, low, high, high, high)), "capset")
    for capability in CAPABILITIES.values():
        if ambient >> capability & 1:
            check(LIBC.prctl(47, 2, capability, 0, 0), "ambient capabilities")
    if unit.get("NoNewPrivileges") == ["yes"]:
        check(LIBC.prctl(38, 1, 0, 0, 0), "no new privileges")


def main():
    path, notify = sys.argv[1:]
    unit = read_unit(path)
    for condition in unit.get("ConditionPathExists", []):
        if not os.path.exists(condition):
            print(f"run-unit: condition: no {condition}", file=sys.stderr)
            sys.exit(77)
    user = pwd.getpwnam(unit["User"][0])
    folders(unit, user.pw_uid, grp.getgrnam(unit["Group"][0]).gr_gid)
    limits(unit)
    keep, program = seccomp(unit)
    protect(unit)
    os.chdir("/")
    os.umask(int(unit["UMask"][0], 8))
    give_up(unit, user)
    [command] = unit["ExecStart"]
    words = shlex.split(command)
    environment = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "NOTIFY_SOCKET": notify,
                   "WATCHDOG_USEC": str(int(unit["WatchdogSec"][0]) * 1000000),
                   "WATCHDOG_PID": str(os.getpid())}
    check(LIBC.prctl(22, 2, program, 0, 0), "system call filter")
    del keep
    os.execve(words[0], words, environment)


main()
