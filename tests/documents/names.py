"""Compares docs/python-api.md with what processes of a server really have, docs/express.md with the commands that there are, and
docs/from-gunicorn.md with the settings that gunicorn has."""

import glob
import json
import os
import re
import subprocess
import sys
import urllib.request

from blocks import Block, Mistake

PAGE = "docs/python-api.md"
COMMANDS = "docs/express.md"
GUNICORN = "docs/from-gunicorn.md"
# Sections of the page, and what the application below says of them.
SECTIONS = "mod_wsgi", "apache", "The environ", "Events", "Request metrics", "Process metrics"
# Not there in a process that has had two requests.
ELSEWHERE = {"Events": {"request_exception", "process_signal", "process_stopping"}}

APPLICATION = """
import json, apache, mod_wsgi

events = {}

@mod_wsgi.subscribe_events
def note(name, **event):
    events[name] = sorted(event)

mod_wsgi.start_recording_metrics()

def public(module):
    # The class is made when somebody asks for it.
    lazy = [name for name in ["LogHandler"] if hasattr(module, name)]
    return sorted({name for name in [*dir(module), *lazy] if not name.startswith("_")})

def application(environ, start_response):
    body = json.dumps({
        "mod_wsgi": public(mod_wsgi),
        "apache": public(apache),
        "The environ": sorted(key for key in environ if key.startswith(("wsgi.", "mod_wsgi.", "apache."))),
        "Events": events,
        "Request metrics": sorted(mod_wsgi.request_metrics()),
        "Process metrics": sorted(mod_wsgi.process_metrics()),
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def check(text, sandbox):
    """Raises for names that only one side has, in either mode."""
    documented = {section: _documented(text, section) for section in SECTIONS}
    with open(sandbox.path("names.wsgi"), "w", encoding="utf-8") as file:
        file.write(APPLICATION)
    mistakes = []
    for mode in ("", " --embedded-mode"):
        sandbox.serve(Block(PAGE, 0, "sh", f"mod_wsgi-express start-server names.wsgi --max-clients 1{mode}", "serve"))
        try:
            for _ in range(2):
                with urllib.request.urlopen(f"http://localhost:{sandbox.port}/", timeout=30) as response:
                    real = json.load(response)
        finally:
            sandbox.stop()
        for section, names in documented.items():
            mistakes += _compare(section, names, real[section])
    if mistakes:
        raise Mistake("\n".join(f"{PAGE}: {mistake}" for mistake in mistakes))


def check_commands(text, sandbox):
    """Raises for a command without help, and for one that the page lacks."""
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", text.partition("\n## Commands\n")[2], re.MULTILINE))
    _, said, complaints = sandbox.shell("mod_wsgi-express --help")
    real = set(re.findall(r"^ +([a-z-]+)$", said + complaints, re.MULTILINE))
    if not documented or documented != real:
        raise Mistake(f"{COMMANDS}: the page and `mod_wsgi-express --help` differ in {sorted(documented ^ real)}")
    for name in sorted(documented):
        status, said, complaints = sandbox.shell(f"mod_wsgi-express {name} --help")
        if status != 0 or name not in said:
            raise Mistake(f"{COMMANDS}: `mod_wsgi-express {name} --help` ends with {status}, and says:\n{said}{complaints}")


def check_gunicorn(text, sandbox):
    """Raises for a setting of gunicorn that has no row."""
    documented = set()
    for row in re.findall(r"^\| (.*?) \| ", text, re.MULTILINE):
        documented |= set(re.findall(r"`(\w+)`", row))
    wheels = glob.glob(os.path.join(sandbox.settings.wheels, "gunicorn-*.whl"))
    if not wheels:
        raise Mistake(f"{GUNICORN}: gunicorn is not among the packages of tests/documents/requirements.txt")
    ask = "import sys; sys.path.append(sys.argv[1]); from gunicorn.config import KNOWN_SETTINGS; print(*(each.name for each in KNOWN_SETTINGS))"
    said = subprocess.run([sys.executable, "-c", ask, wheels[0]], capture_output=True, text=True, check=False)
    settings = set(said.stdout.split())
    if said.returncode != 0 or not settings:
        raise Mistake(f"{GUNICORN}: gunicorn does not tell its settings:\n{said.stderr}")
    if settings - documented:
        raise Mistake(f"{GUNICORN}: there is no row for {', '.join(sorted(settings - documented))}")


def _compare(section, documented, real):
    for name in sorted(set(documented) - set(real) - ELSEWHERE.get(section, set())):
        yield f"{section}: there is no {name}"
    for name in sorted(set(real) - set(documented)):
        yield f"{section}: {name} is missing on the page"
    if section == "Events":
        for name, keys in real.items():
            wrong = set(keys) ^ set(documented.get(name, ()))
            if wrong:
                yield f"{section}: {name}: the page and the server differ in {', '.join(sorted(wrong))}"


def _documented(text, section):
    """Returns the names in the first column of a section's tables, each with those in its last one."""
    part = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not part:
        raise Mistake(f"{PAGE}: there is no section {section}")
    names = {}
    for row in re.findall(r"^\| (`.*) \|$", part[1], re.MULTILINE):
        cells = row.split(" | ")
        for name in re.findall(r"`([\w.]+)(?:\([^`]*\))?`", cells[0]):
            names[name] = re.findall(r"`([a-z_]+)`", cells[-1])
    return names
