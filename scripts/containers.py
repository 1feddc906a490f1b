"""Images and containers without a container engine: the steps of a Containerfile in root directories, and namespaces.

It takes root, mmdebstrap, and a kernel that makes namespaces; control groups are used if they can be made. Containers have namespaces for users,
processes and mounts, no privileges, a read-only root, /tmp without programs, and limits.
"""

import atexit
import glob
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = Path(__file__).resolve().parent.parent / "build/container"
# The image of Python stands for this; Debian's Python has no shared library unless it is asked for.
SUITE = "trixie"
PACKAGES = "python3,python3-venv,libpython3.13,ca-certificates"
PORT = 8080
# Seconds that anything may take.
LIMIT = 60
# What a container may have: processors, megabytes, processes and threads.
PROCESSORS, MEMORY, TASKS = 2, 512, 200


class Image:
    """A root directory, and how to run what is in it."""

    def __init__(self, root, environment=None, directory="/", user="0:0", entrypoint=(), command=(), healthcheck=()):
        self.root = Path(root)
        self.environment = dict(environment or {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
        self.directory, self.user = directory, user
        self.entrypoint, self.command, self.healthcheck = list(entrypoint), list(command), list(healthcheck)

    def copy(self, root):
        """Copies it; files are links, which no step writes to but replaces."""
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "--archive", self.root, root], check=True)
        return Image(root, self.environment, self.directory, self.user, self.entrypoint, self.command, self.healthcheck)

    def save(self, file):
        file.with_suffix(".json").write_text(json.dumps({**vars(self), "root": str(self.root)}))

    @classmethod
    def load(cls, file):
        return cls(**json.loads(file.with_suffix(".json").read_text()))

    def run(self, command):
        """Runs a step as root, with the network of this machine."""
        script = 'mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/env -i -C "$2" "${@:3}"'
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        wrapper = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "run"]
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        subprocess.run([*wrapper, self.root, self.directory, *variables, "/bin/sh", "-c", command], check=True, stdout=sys.stderr)


def python_image(version):
    """Makes what stands for the image python:VERSION-slim, unless it is there."""
    tar = IMAGES / f"{SUITE}.tar"
    if not tar.exists():
        step(f"mmdebstrap {SUITE}")
        new = tar.with_suffix(".new.tar")
        options = ["--variant=minbase", f"--include={PACKAGES}", "--aptopt=Acquire::Check-Valid-Until \"false\""]
        subprocess.run(["mmdebstrap", *options, SUITE, new], check=True)
        new.rename(tar)
    root = IMAGES / "python"
    if not root.exists():
        root.mkdir()
        subprocess.run(["tar", "--extract", "--file", tar, "--directory", root, "--exclude=./dev/*"], check=True)
    image = Image(root)
    found = subprocess.run(["chroot", root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                           check=True, capture_output=True, text=True).stdout.strip()
    expect(version, found, "the Python of the image")
    return image


def instructions(text):
    """Yields the instructions of a Containerfile: name, text."""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        if name:
            yield name, rest.strip()


def build(text, context, name, known=None):
    """Runs the steps of a Containerfile; one that is not known here ends the test, so that none is left out."""
    arguments, stages, image = {}, {}, None
    for instruction, text in instructions(text):
        step(f"{name}: {instruction} {text}")
        expand = lambda word, names: re.sub(r"\$\{?(\w+)\}?", lambda match: names.get(match[1], ""), word)
        if instruction == "ARG":
            key, _, value = text.partition("=")
            arguments[key] = value
        elif instruction == "FROM":
            words = expand(text, arguments).split()
            root = IMAGES / (f"{name}.{words[2]}" if len(words) == 3 else name)
            python = re.fullmatch(r"docker\.io/library/python:([\d.]+)-slim", words[0])
            image = (python_image(python[1]) if python else (known or {})[words[0]]).copy(root)
            stages[words[2] if len(words) == 3 else None] = image
        elif instruction == "COPY":
            words = text.split()
            source = context
            if words[0].startswith("--from="):
                source = stages[words.pop(0).partition("=")[2]].root
            # As an engine does it: what is in a directory, and not as root of this machine's umask.
            target = image.root / os.path.join(image.directory, words[-1]).lstrip("/")
            for word in words[:-1]:
                paths = glob.glob(str(source / word.lstrip("/")))
                expect(bool(paths), True, f"files for COPY {word}")
                target.mkdir(parents=True, exist_ok=True)
                for path in map(Path, paths):
                    # The content of a directory, which does not change the target's own permissions.
                    for each in path.iterdir() if path.is_dir() else [path]:
                        subprocess.run(["cp", "--recursive", "--preserve=mode,links,timestamps", each, target], check=True)
        elif instruction == "RUN":
            image.run(text)
        elif instruction == "ENV":
            image.environment.update((key, expand(value, image.environment)) for key, _, value in map(lambda word: word.partition("="), shlex.split(text)))
        elif instruction == "WORKDIR":
            image.directory = text
            (image.root / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "USER":
            image.user = text
        elif instruction == "ENTRYPOINT":
            image.entrypoint, image.command = json.loads(text), []
        elif instruction == "HEALTHCHECK":
            image.healthcheck = json.loads(text.partition("CMD ")[2])
        elif instruction == "CMD":
            image.command = json.loads(text)
        elif instruction == "STOPSIGNAL":
            expect(text, "SIGTERM", "the signal that the tests send")
        elif instruction == "EXPOSE":
            expect(text, str(PORT), "the port that the tests ask")
        elif instruction not in ("LABEL",):
            fail(f"{name}: there is no {instruction} here yet")
    image.save(IMAGES / name)
    return image


# Containers

# Mounts what a container has. Arguments: the root, control groups of the container and where they belong, --, and what to become.
MOUNTS = r"""
set -e
read -r go
root=$1; shift
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=64m tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,noexec,mode=755 tmpfs "$root/dev"
for name in null zero full random urandom; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
ln -s /proc/self/fd "$root/dev/fd"; ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --rbind -o ro "$1" "$root$2"; shift 2; done
shift
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""


class Container:
    """A running container. Its output is in a file."""

    def __init__(self, image, arguments=None, user=None, environment=None, limits=None):
        uid, gid = (user or image.user).split(":")
        self.log = tempfile.NamedTemporaryFile(mode="a+", prefix="container-", suffix=".log")
        if user is None:
            # As most engines do; without it, the output cannot be opened by its name.
            os.fchown(self.log.fileno(), int(uid), -1)
        variables = [f"{name}={value}" for name, value in {**image.environment, **(environment or {})}.items()]
        become = ["/usr/bin/env", "-i", "-C", image.directory, *variables]
        become += ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        self.become = list(become)
        become += ["prlimit", f"--nproc={TASKS}", "--core=0", *image.entrypoint, *(arguments or image.command)]
        mounts = [path for mount in (limits.mounts if limits else []) for path in mount]
        unshare = ["unshare", "--user", "--mount", "--pid", "--fork", "--kill-child"]
        self.outer = subprocess.Popen(
            [*unshare, "bash", "-c", MOUNTS, "container", image.root, *mounts, "--", *become],
            stdin=subprocess.PIPE,
            stdout=self.log.fileno(),
            stderr=self.log.fileno(),
            start_new_session=True,
            preexec_fn=limits.enter if limits else None,
        )
        atexit.register(self.kill)
        # A user namespace, in which ids are those of outside.
        wait("the namespaces", lambda: children(self.outer.pid))
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{self.outer.pid}/{name}").write_text("0 0 4294967295")
        self.outer.stdin.write(b"go\n")
        self.outer.stdin.close()
        [self.first] = children(self.outer.pid)
        wait("the server", self.is_serving)

    def is_serving(self):
        if self.outer.poll() is not None:
            fail(f"the container has ended with {self.outer.returncode}:\n{self.output()}")
        try:
            return get("/")[0] == 200
        except OSError:
            return False

    def run(self, command):
        """Runs a command in the container, as an engine does; returns its status and its output."""
        enter = ["nsenter", f"--target={self.first}", "--user", "--mount", "--pid", "--root"]
        done = subprocess.run([*enter, *self.become, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        return done.returncode, done.stdout + done.stderr

    def output(self):
        return Path(self.log.name).read_text()

    def banner(self, label):
        found = re.search(rf"^{re.escape(label)} *: (.*)$", self.output(), re.M)
        return found[1] if found else None

    def end(self):
        """Waits for its end; returns its status and how many seconds that took."""
        begin = time.monotonic()
        status = self.outer.wait(LIMIT)
        return status, time.monotonic() - begin

    def kill(self):
        if self.outer.poll() is None:
            # With the first process, the kernel ends all others. That it ends with the one that has made it does not outlast the change
            # of the user.
            for pid in children(self.outer.pid):
                os.kill(pid, signal.SIGKILL)
            self.outer.kill()
            self.outer.wait()


class Limits:
    """Control groups for one container; of version 1 here, as far as they can be made."""

    def __init__(self):
        name = f"mod_wsgi-test-{os.getpid()}"
        new = Path("/sys/fs/cgroup")
        self.directories, self.mounts = [], []
        if (new / "cgroup.controllers").exists():
            (new / "cgroup.subtree_control").write_text("+cpu +memory +pids")
            directory = self.make(new / name, {"cpu.max": f"{PROCESSORS * 100000} 100000", "memory.max": f"{MEMORY}M", "pids.max": TASKS})
            self.mounts.append((new, "/sys/fs/cgroup"))
            return
        for controller, files in {
            "cpu": {"cpu.cfs_period_us": 100000, "cpu.cfs_quota_us": PROCESSORS * 100000},
            "memory": {"memory.limit_in_bytes": MEMORY << 20},
            "pids": {"pids.max": TASKS},
        }.items():
            directory = self.make(new / controller / name, files)
            self.mounts.append((directory, f"/sys/fs/cgroup/{controller}"))

    def make(self, directory, files):
        directory.mkdir()
        self.directories.append(directory)
        for name, value in files.items():
            (directory / name).write_text(str(value))
        return directory

    @classmethod
    def if_possible(cls):
        try:
            limits = cls()
        except OSError as error:
            print(f"no limits by control groups, which cannot be made here: {error}", file=sys.stderr)
            return None
        atexit.register(limits.remove)
        return limits

    def enter(self):
        for directory in self.directories:
            (directory / "cgroup.procs").write_text("0")

    def tasks(self):
        """Returns the most tasks that there were, if that is known."""
        peaks = [directory / "pids.peak" for directory in self.directories]
        return next((int(peak.read_text()) for peak in peaks if peak.exists()), None)

    def remove(self):
        for directory in self.directories:
            wait(f"the end of {directory}", lambda: not (directory / "cgroup.procs").read_text())
            directory.rmdir()


def children(pid):
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, file.read_text().split())
    return found


def comm(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=LIMIT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wait(what, condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            fail(f"waited {LIMIT} s in vain: {what}")
        time.sleep(0.05)


def expect(found, expected, what):
    if found != expected:
        fail(f"{what}: {found!r} instead of {expected!r}")


def step(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")
