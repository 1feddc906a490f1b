#!/usr/bin/python3
"""Runs a command in a sandbox like that of a strict systemd unit, without systemd.

usage: sandboxed.py COMMAND...

MemoryDenyWriteExecute= is the same flag of the kernel that systemd sets (Linux 6.3). ProtectHome=read-only with InaccessiblePaths=/root,
ProtectSystem=strict with ReadWritePaths=, PrivateTmp=, ProtectProc=invisible and ProcSubset=pid are mounts, and NoNewPrivileges= is a flag.
RestrictNamespaces=, LockPersonality=, RestrictRealtime=, ProtectClock=, ProtectHostname=, ProtectKernelLogs= and ProtectKernelModules= are filters of
system calls, here somewhat stricter ones (x86-64 only); so is CapabilityBoundingSet=.
"""

import ctypes
import os
import platform
import struct
import subprocess
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
CLONE_NEWNS = 0x20000
WRITABLE = ["/var/log/apache2", "/run", "/var/lock"]

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_CAPBSET_DROP = 22, 2, 24
# CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, NET_BIND_SERVICE
CAPABILITIES = [0, 1, 5, 6, 7, 10]
LAST_CAPABILITY = 40

# Numbers of x86-64. With these the kernel answers EPERM: unshare, setns, personality, sched_setscheduler, sched_setattr, sethostname,
# setdomainname, syslog, init_module, finit_module, delete_module, settimeofday, clock_settime, adjtimex, clock_adjtime, mknod, mknodat.
REFUSED = [272, 308, 135, 144, 314, 170, 171, 103, 175, 313, 176, 164, 227, 159, 305, 133, 259]
CLONE, CLONE3 = 56, 435
NEW_NAMESPACES = 0x7E020080
AUDIT_ARCH_X86_64 = 0xC000003E

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def filter_of_system_calls():
    """Returns a program for the kernel (linux/filter.h): a record is an instruction, two distances of jumps, and a value."""
    load, equal, any_bit, leave = 0x20, 0x15, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050001, 0x00050026
    program = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCH_X86_64), (leave, 0, 0, refuse), (load, 0, 0, 0)]
    for number in REFUSED:
        program += [(equal, 0, 1, number), (leave, 0, 0, refuse)]
    # As systemd has it: the C library then takes clone, whose flags can be seen.
    program += [(equal, 0, 1, CLONE3), (leave, 0, 0, unknown)]
    program += [(equal, 0, 3, CLONE), (load, 0, 0, 16), (any_bit, 0, 1, NEW_NAMESPACES), (leave, 0, 0, refuse), (leave, 0, 0, allow)]
    return b"".join(struct.pack("HBBI", *record) for record in program), len(program)


def restrict_system_calls():
    program, length = filter_of_system_calls()
    instructions = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", length, ctypes.addressof(instructions))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(head, len(head)), 0, 0), "prctl(PR_SET_SECCOMP)")


check(libc.unshare(CLONE_NEWNS), "unshare")
mount("--make-rprivate", "/")
for path in WRITABLE:
    mount("--bind", path, path)
mount("-t", "proc", "-o", "hidepid=invisible,subset=pid", "proc", "/proc")
for path in ["/tmp", "/var/tmp"]:
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", path)
mount("-t", "tmpfs", "-o", "mode=0000,ro", "tmpfs", "/root")
mount("-o", "remount,bind,ro", "/")
check(libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0), "prctl(PR_SET_MDWE)")
check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
for capability in range(LAST_CAPABILITY + 1):
    if capability not in CAPABILITIES:
        check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")
if platform.machine() == "x86_64":
    restrict_system_calls()
os.execvp(sys.argv[1], sys.argv[1:])
