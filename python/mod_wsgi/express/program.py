"""The program mod_wsgi-express, which does the work of this package."""

import os
import shlex
import shutil
import subprocess
import sys

# PREFIX/bin/mod_wsgi-express; this is a file of PREFIX/lib/mod_wsgi/python-packages/mod_wsgi/express.
_PATH = os.path.join(os.path.realpath(__file__).rsplit(os.sep, 6)[0], "bin", "mod_wsgi-express")
_MODULE = os.path.join("lib", "mod_wsgi", "mod_wsgi.so")
# The commands that have to know the Python.
_WITH_PYTHON = ("start-server", "setup-server", "module-config", "install-module", "install-package")


class ConfigurationError(Exception):
    """A server that cannot work as it was asked for."""


def list_options():
    """Returns name, type, names of arguments, marks and help of each option of start-server."""
    output = subprocess.run([_path(), "list-options"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        name, kind, arguments, marks, text = line.split("\t")
        yield name, kind, arguments.split(), marks.split(), text


def prepare(arguments):
    """Generates a server root, prints what the program says, and returns the directory.

    Raises ConfigurationError if the server could not work.
    """
    command_line = shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
    program = subprocess.run(
        [_path(), "prepare-server", "--command-line", command_line, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = []
    for line in program.stderr.splitlines():
        _, found, error = line.partition(": error: ")
        if found:
            errors.append(error)
        elif program.returncode != 2:
            # With this status, the others are usage.
            print(line, file=sys.stderr)
    if program.returncode != 0:
        raise ConfigurationError("\n".join(errors) or f"{_PATH} ended with status {program.returncode}")
    sys.stdout.write(program.stdout)
    roots = [line.partition(": ")[2] for line in program.stdout.splitlines() if line.startswith("Server Root ")]
    return roots[0]


def run(arguments):
    """Becomes the server that `prepare` has generated for these arguments."""
    _become("run-server", *arguments)


def start(command, arguments):
    """Becomes the program, with the Python that runs this unless another one is named."""
    python = []
    if command in _WITH_PYTHON and sys.executable and not os.environ.get("PYTHON"):
        python = ["--python", sys.executable]
    arguments = list(arguments)
    if command in ("start-server", "setup-server"):
        # Appended, so that directories that are named come first.
        end = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[end:end] = [f"--python-path={directory}" for directory in unpacked()]
    _become(command, *python, *arguments)


def unpacked():
    """Returns the directory of the packages of the shiv archive that this runs in, as a list; empty if there is none."""
    # The module that shiv puts into its archives. The processes that serve know nothing of the archive.
    bootstrap = sys.modules.get("_bootstrap")
    if not hasattr(bootstrap, "cache_path"):
        return []
    with bootstrap.current_zipfile() as archive:
        if archive is None:
            return []
        environment = bootstrap.Environment.from_json(archive.read("environment.json").decode())
        directory = bootstrap.cache_path(archive, environment.root, environment.build_id)
    return [os.path.abspath(os.path.join(directory, "site-packages"))]


def _become(*arguments):
    path = _path()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, ["mod_wsgi-express", *arguments])


def _path():
    if not os.path.exists(_PATH):
        # This package has been copied, as into an archive.
        found = os.path.realpath(shutil.which("mod_wsgi-express") or "")
        if os.path.exists(os.path.join(os.path.dirname(os.path.dirname(found)), _MODULE)):
            return found
        raise ConfigurationError(
            f"the program of this package is not where it belongs, {_PATH}: install both together with "
            "`make install PREFIX=...`, and name the package with `mod_wsgi-express install-package`, or add the "
            "directory of the program to PATH"
        )
    return _PATH
