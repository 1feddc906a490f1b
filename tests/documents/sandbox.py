"""Runs the commands of a page in a directory and on ports of their own."""

import contextlib
import functools
import grp
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from blocks import Mistake

# Seconds that a command may take, a server may take to listen, and a response to become what a page says.
COMMAND, START, RESPONSE = 120, 60, 30
# The same for commands of the checkout, which look whether something is to be built, and wait for each other.
BUILD = 600
# Ports as pages name them. Each page has its own ones in their places.
PORTS = "8000", "8080", "8443", "8888", "9000"
# Directories as pages name them; each page has its own ones below its sandbox.
DIRECTORIES = re.compile(r'(?<![\w./@-])/(srv|opt|run|etc/ssl|etc/apache2|var/cache|var/log/shop)(?=[/\s"\'>),;:]|$)', re.MULTILINE)
# What a page takes for granted in the configuration of the distribution.
GIVEN_SITE = """
WSGIDaemonProcess shop threads=5 request-timeout=60 locale=C.UTF-8
WSGIScriptAlias / /srv/shop/app.wsgi process-group=shop application-group=%{GLOBAL}
<Directory /srv/shop>
    Require all granted
</Directory>
"""
# The first of the ports, below those of the end-to-end tests and of outgoing connections.
FIRST = 11_000
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Runs a shell as root of a system whose files of configuration are copies.
APART = """set -e
mount -t tmpfs none "$0" && cp -a /etc/. "$0" && mount --bind "$0" /etc
exec sh -c "$1"
"""
# The interpreter behind the virtual environment of these tests: not the first of PATH, which other users may not be able to run.
PYTHON = os.path.realpath(sys.executable)
# Each run has a range of its own, as far as that goes.
_ports = itertools.count(FIRST + os.getpid() % 40 * 200)


def free_port():
    for port in _ports:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@functools.cache
def can_be_apart():
    """Returns whether blocks that change the system can be run, in a system of their own."""
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/etc"], capture_output=True, check=False
    ).returncode == 0


@functools.cache
def python_of_builds():
    """Returns the interpreter that `make` builds for, so that what is built already fits."""
    return subprocess.run(["scripts/find-python"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


class Sandbox:
    """A directory for the files of a page, with the servers that it has started."""

    def __init__(self, page, settings, apache):
        self.page = page
        self.apache = apache
        self.settings = settings
        name = os.path.basename(page).removesuffix(".md")
        self.root = tempfile.mkdtemp(prefix=f"documents-{name}-")
        # Servers that root starts serve as another user.
        os.chmod(self.root, 0o755)
        os.mkdir(self.path("tmp"), 0o1777)
        os.chmod(self.path("tmp"), 0o1777)
        for directory in ("srv", "opt", "run", "etc/ssl", "etc/apache2", "var/cache", "var/log/shop"):
            os.makedirs(self.path(directory))
        os.symlink(settings.prefix, self.path("opt/mod_wsgi"))
        if settings.wheel:
            shutil.copy(settings.wheel, self.root)
        self.ports = {port: str(free_port()) for port in PORTS}
        self.port = self.ports["8000"]
        self.directory = self.root
        # Blocks with their processes, and what the last of them says.
        self.servers = []
        self.output = self.path("output")
        self.environment = {
            "HOME": self.root,
            "LC_ALL": "C.UTF-8",
            "PATH": f"{settings.prefix}/bin:{os.path.dirname(PYTHON)}:/usr/sbin:/usr/bin:/sbin:/bin",
            "TMPDIR": self.path("tmp"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{settings.wheels} {self.root}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def adapt(self, text):
        """Replaces what a page may not have as it says it: ports and directories of the machine."""
        for port, own in self.ports.items():
            text = re.sub(rf"(?<![\w.]){port}(?![\w.]\w)", own, text)
        return DIRECTORIES.sub(lambda match: self.path(match[1]), text)

    def write(self, name, text, mode="w"):
        path = os.path.join(self.directory, self.adapt(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)

    def give(self, names):
        """Makes files and directories (with a slash at the end) that a page takes for granted."""
        for name in shlex.split(names):
            path = os.path.join(self.directory, self.adapt(name))
            if name.endswith("/"):
                os.makedirs(path, exist_ok=True)
            elif name == "/etc/apache2/apache2.conf":
                self.write(path, self.adapt(self.apache.configuration(self, GIVEN_SITE)))
            elif name.endswith("/bin/python"):
                self.make_environment(path.removesuffix("/bin/python"))
            elif name.startswith("pip:") and self.settings.fast:
                continue  # Nothing will run.
            elif name.startswith("pip:"):
                # Packages that Python has where the page says nothing of one.
                self.make_environment(self.path(".venv"), has_pip=True)
                self.environment["PYTHON"] = self.path(".venv/bin/python")
                status, _, complaints = self.shell(f'"$PYTHON" -m pip install --quiet {name[4:]}')
                if status != 0:
                    raise Mistake(f"{self.page}: cannot install {name[4:]}: {complaints}")
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                given = os.path.join(self.settings.given, os.path.basename(name))
                if os.path.exists(given):
                    shutil.copy(given, path)
                else:
                    self.write(path, "Only the presence of this file counts.\n")

    def make_environment(self, path, has_pip=False):
        options = [] if has_pip else ["--without-pip"]
        subprocess.run([PYTHON, "-m", "venv", *options, path], check=True, timeout=COMMAND)

    def commands(self, block):
        """Returns the commands of a block, as they are run."""
        # Without its own option a server listens on 8000; if there is one, the last counts.
        port = self.ports[block.settings.get("port", "8000")]
        text = re.sub(r"\b(start-server|setup-server|runmodwsgi)\b", rf"\1 --port {port}", self.adapt(block.text))
        # This one has its own port, and the group that a page makes is not there.
        text = re.sub(r"\bmod_wsgi-telemetry serve\b", rf"\g<0> --http-port {port}", text)
        text = text.replace("--socket-group wsgi-telemetry", f"--socket-group {grp.getgrgid(os.getgid()).gr_name}")
        if "from" in block.settings:
            text = re.sub(r"/usr/(local/)?bin/python3[.\d]*", python_of_builds(), text)
        return text

    def place(self, block):
        """Returns the directory and the environment of a block's commands."""
        if "from" not in block.settings:
            return self.directory, self.environment
        # What the block installs is the page's own, and made of what tests have built.
        if os.path.islink(self.path("opt/mod_wsgi")):
            os.unlink(self.path("opt/mod_wsgi"))
        own = {"PROFILE": "dev", "PREFIX": self.path("opt/served"), "PORT": self.ports["8000"]}
        return ROOT, {**os.environ, **own}

    def shell(self, text, limit=COMMAND, place=None, is_apart=False):
        """Runs a text with sh where the last one has ended, and returns its status, output and error output."""
        note = self.path(".directory" if place is None else ".elsewhere")
        directory, environment = place or (self.directory, self.environment)
        script = f"trap 'pwd >{shlex.quote(note)}' EXIT\nset -e\n{text}"
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            command = ["sh", "-c", script]
            if is_apart:
                os.makedirs(self.path("etc.copy"), exist_ok=True)
                command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", APART, self.path("etc.copy"), script]
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = f"nothing within {limit} seconds"
            said, complaints = (_content(each) for each in (output, errors))
        if place is None and os.path.exists(note):
            self.directory = self.read(".directory").strip()
        return status, said, complaints

    def run(self, block, fails=False):
        """Runs a block of commands."""
        place = self.place(block) if "from" in block.settings else None
        limit = COMMAND if place is None else BUILD
        status, said, complaints = self.shell(self.commands(block), limit, place, is_apart="as" in block.settings)
        if (status != 0) != fails:
            raise Mistake(f"{block.place}: these commands end with {status}, and say:\n{said}{complaints}{self.logs()}")

    def run_console(self, block):
        """Runs a block of commands with their outputs, and compares them."""
        command, expected, pairs = None, [], []
        for line in self.commands(block).rstrip("\n").split("\n") + ["$ "]:
            if line.startswith("$ "):
                if command is not None:
                    pairs.append((command, expected))
                command, expected = line[2:], []
            elif command is not None and command.endswith("\\"):
                command += "\n" + line
            else:
                expected.append(line)
        for command, expected in pairs:
            self.expect(block, command, expected)

    def expect(self, block, command, expected):
        pattern = "\n".join(re.escape(line).replace(r"\.\.\.", "...") for line in expected)
        pattern = re.compile(pattern.replace("...", r"[\s\S]*"))
        deadline = time.monotonic() + RESPONSE
        while True:
            status, said, complaints = self.shell(command)
            if status == 0 and (not expected or pattern.fullmatch(said.strip("\n"))):
                return
            # What only looks may look again: a server takes over a change when it has loaded it.
            if not command.startswith("curl") or time.monotonic() > deadline:
                raise Mistake(
                    f"{block.place}: `{command}` ends with {status}, and says:\n{said}{complaints}\nThe page says:\n"
                    + "\n".join(expected)
                    + self.logs()
                )
            time.sleep(0.2)

    def serve(self, block):
        """Starts a server that a block of commands runs in the foreground, and waits until it listens."""
        self.stop()
        port = int(self.adapt(block.settings.get("port", "8000")))
        # The last command becomes the process, which then is the one to stop.
        *first, last = self.commands(block).replace("\\\n", " ").strip().split("\n")
        directory, environment = self.place(block)
        with open(self.output, "wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", "\n".join(["set -e", *first, "exec " + last])],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.servers.append((block, process))
        deadline = time.monotonic() + (BUILD if "from" in block.settings else START)
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                raise Mistake(f"{block.place}: no server listens on the port {port}:{self.logs()}")
            time.sleep(0.1)

    def options(self, block):
        """Has mod_wsgi-express check the options of a server, which is not started."""
        text = self.commands(block).replace("start-server", "setup-server", 1)
        status, _, complaints = self.shell(f"{text.rstrip()} --server-root {shlex.quote(self.path('tmp/root'))}")
        if status != 0:
            raise Mistake(f"{block.place}: this command line is refused:\n{complaints}")

    def stop(self):
        """Stops the servers; one that has ended by itself, or does not end, is a mistake."""
        servers, self.servers = self.servers, []
        for block, process in servers:
            ended = process.poll()
            try:
                if ended is None:
                    process.terminate()
                    process.wait(START)
            except subprocess.TimeoutExpired as error:
                raise Mistake(f"{block.place}: the server does not end{self.logs()}") from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if ended is not None:
                raise Mistake(f"{block.place}: the server has ended by itself with {ended}{self.logs()}")

    def logs(self):
        """Returns what servers have said, for reports."""
        out = ""
        for directory, _, names in os.walk(self.root):
            for name in names:
                if name in ("output", "error_log"):
                    with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                        out += f"\n{name}:\n{file.read()[-3000:]}"
        return out

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)


def _content(file):
    file.seek(0)
    return file.read().decode(errors="replace").replace("\r\n", "\n")
