#!/usr/bin/python3
"""Runs a command in a sandbox like that of a strict systemd unit, without systemd.

usage: sandboxed.py COMMAND...

MemoryDenyWriteExecute= is the same flag of the kernel that systemd sets (Linux 6.3). ProtectHome=read-only with InaccessiblePaths=/root,
ProtectSystem=strict with ReadWritePaths=, PrivateTmp=, ProtectProc=invisible and ProcSubset=pid are mounts, and NoNewPrivileges= is a flag.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
CLONE_NEWNS = 0x20000
WRITABLE = ["/var/log/apache2", "/run", "/var/lock"]

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


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
os.execvp(sys.argv[1], sys.argv[1:])
