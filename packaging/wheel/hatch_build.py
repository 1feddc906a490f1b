"""Puts an installed tree, which MOD_WSGI_TREE names, into the wheel."""

import os
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The oldest C library that the files of the tree work with. scripts/wheel compares it with what auditwheel finds.
PLATFORM = os.environ.get("PLATFORM") or "manylinux_2_34"

_PROGRAM = "bin/mod_wsgi-express"
_MODULE = "lib/mod_wsgi/mod_wsgi.so"
# By the number of the machine in the head of its files (elf.h).
_ARCHITECTURES = {62: "x86_64", 183: "aarch64"}


class InstalledTree(BuildHookInterface):
    def initialize(self, version, build_data):
        tree = Path(os.environ["MOD_WSGI_TREE"])
        # Without an ABI of Python: there is a host for each.
        build_data["tag"] = f"py3-none-{PLATFORM}_{_architecture(tree / _MODULE)}"
        for path in sorted(tree.rglob("*")):
            name = path.relative_to(tree).as_posix()
            # There are no symbolic links in wheels. Those of the tree are other names of the module, and the default Python.
            if path.is_dir() or path.is_symlink() or "__pycache__" in path.parts:
                continue
            if name == _PROGRAM:
                build_data["shared_scripts"][str(path)] = path.name
            else:
                build_data["shared_data"][str(path)] = name


def _architecture(file):
    with open(file, "rb") as stream:
        head = stream.read(20)
    machine = int.from_bytes(head[18:20], "little")
    if head[:4] != b"\x7fELF" or machine not in _ARCHITECTURES:
        raise ValueError(f"{file}: wheels are made for {', '.join(_ARCHITECTURES.values())}, and this is for neither")
    return _ARCHITECTURES[machine]
