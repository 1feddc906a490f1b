"""Generates the files of a server."""

import os
import sys

from mod_wsgi.express import program
from mod_wsgi.express.options import command_line
from mod_wsgi.express.program import ConfigurationError

__all__ = ["ConfigurationError", "setup_server"]


def setup_server(command, args, options):
    """Generates the server root for a command, start-server or setup-server.

    `args` are the arguments that are no options, `options` the values of those by the names of their attributes. Returns
    the options with the directory as `server_root`. Raises ConfigurationError if the server could not work.
    """
    root = program.prepare(arguments(command, args, options))
    return {**options, "server_root": root}


def arguments(command, args, options):
    """Returns the words of the command line that `setup_server` stands for."""
    options = dict(options)
    if not (options.get("python") or os.environ.get("PYTHON")):
        options["python"] = sys.executable or None
    unpacked = program.unpacked()
    if unpacked:
        options["python_paths"] = [*(options.get("python_paths") or []), *unpacked]
    options["setup_only"] = options.get("setup_only") or command == "setup-server"
    return [*command_line(options), "--", *map(str, args)]
