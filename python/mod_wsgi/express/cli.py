"""The command line mod_wsgi-express, called from Python."""

import sys

from mod_wsgi.express import program


def main():
    """Becomes mod_wsgi-express with the arguments of this program."""
    program.start(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:])


def start(*args):
    """Becomes `mod_wsgi-express start-server` with these arguments."""
    program.start("start-server", map(str, args))


if __name__ == "__main__":
    main()
