"""Tests what the documents show: each block of code is run, or checked as far as that is possible here.

usage: tests/documents [--fast] --prefix DIR [--wheel FILE] [--wheels DIR] [PAGE ...]

--prefix is an installation (scripts/install); --wheel one as a wheel, and --wheels a directory with the packages that pages install. With --fast
nothing is run: blocks are parsed, and Apache reads each configuration. CONTRIBUTING.md has the comments that give blocks their classes.
"""

import argparse
import collections
import concurrent.futures
import glob
import os
import re
import sys
import time

import names
from blocks import Mistake, parse
from checks import Apache, check
from queries import dashboard
from references import References
from sandbox import Sandbox, can_be_apart

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Pages outside of docs/ that show commands, or name what there is.
OTHERS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SAFETY.md", "packaging/README.md", "packaging/wheel/README.md"]
# Pages that are tested at a time: most of them wait for servers most of the time.
SIDE_BY_SIDE = 3


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--wheel")
    parser.add_argument("--wheels", default="/nonexistent")
    parser.add_argument("pages", nargs="*")
    settings = parser.parse_args()
    settings.prefix = os.path.abspath(settings.prefix)
    settings.wheels = os.path.abspath(settings.wheels)
    settings.given = os.path.join(ROOT, "tests/documents/given")
    pages = settings.pages or [*OTHERS, *sorted(glob.glob("docs/*.md", root_dir=ROOT))]
    references, apache = References(ROOT), Apache(settings.prefix)

    def test(page):
        return test_page(page, settings, references, apache)

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        results = list(pool.map(test, pages))
    counts, reasons, mistakes = collections.Counter(), collections.Counter(), []
    try:
        dashboard(os.path.join(ROOT, "examples/grafana/mod_wsgi.json"))
    except Mistake as mistake:
        mistakes.append(str(mistake))
    for page_counts, page_reasons, page_mistakes in results:
        counts += page_counts
        reasons += page_reasons
        mistakes += page_mistakes
    print(f"{len(pages)} pages, {counts.total()} blocks, {time.monotonic() - begin:.0f} s:")
    for (kind, language), number in sorted(counts.items()):
        print(f"{number:5}  {kind} ({language})")
    for reason, number in sorted(reasons.items()):
        print(f"{number:5}  not run: {reason}")
    for mistake in mistakes:
        print(f"\n{mistake}", file=sys.stderr)
    sys.exit(1 if mistakes else 0)


def test_page(page, settings, references, apache):
    """Returns the numbers of blocks by class and by reason, and the mistakes of a page."""
    counts, reasons, mistakes = collections.Counter(), collections.Counter(), []
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = file.read()
    try:
        references.check(page, text)
    except Mistake as mistake:
        mistakes.append(str(mistake))
    try:
        blocks = parse(page, text)
    except Mistake as mistake:
        return counts, reasons, [*mistakes, str(mistake)]
    sandbox = Sandbox(page, settings, apache)
    try:
        for block in blocks:
            if "as" in block.settings and not can_be_apart():
                block.kind, block.detail = "not run", "changes the system: needs root, and a system of its own"
            if block.kind != "given":
                kind = "checked" if settings.fast and block.kind in ("run", "serve", "fails", "options") else block.kind
                counts[kind, block.language] += 1
            if block.kind == "not run":
                reasons[block.detail] += 1
                for target in set(re.findall(r"\bmake ([a-z-]+)", block.detail)) - references.targets:
                    mistakes.append(f"{block.place}: the Makefile has no target {target}")
            try:
                test_block(block, settings, sandbox, apache)
            except Mistake as mistake:
                mistakes.append(str(mistake))
                if block.kind in ("run", "serve", "fails"):
                    break
        further = {names.PAGE: names.check, names.COMMANDS: names.check_commands, names.GUNICORN: names.check_gunicorn}.get(page)
        if further and not settings.fast:
            try:
                further(text, sandbox)
            except Mistake as mistake:
                mistakes.append(str(mistake))
    finally:
        try:
            sandbox.close()
        except Mistake as mistake:
            mistakes.append(str(mistake))
    return counts, reasons, mistakes


def test_block(block, settings, sandbox, apache):
    text = sandbox.adapt(block.text)
    if "file" in block.settings:
        sandbox.write(block.settings["file"], text)
    if "append" in block.settings and not settings.fast:
        sandbox.write(block.settings["append"], text, mode="a")
    if block.kind == "given":
        sandbox.give(block.text)
    elif block.kind == "same as":
        path = os.path.join(os.path.dirname(os.path.join(ROOT, block.page)), block.detail)
        with open(path, encoding="utf-8") as file:
            if file.read() != block.text:
                raise Mistake(f"{block.place}: the block and {block.detail} differ")
        check(block, text, sandbox, apache)
    elif settings.fast or block.kind in ("check", "not run"):
        check(block, text, sandbox, apache)
    elif block.kind == "serve":
        sandbox.serve(block)
    elif block.kind == "options":
        sandbox.options(block)
    elif block.kind in ("run", "fails"):
        if block.language == "console":
            sandbox.run_console(block)
        else:
            sandbox.run(block, fails=block.kind == "fails")


main()
