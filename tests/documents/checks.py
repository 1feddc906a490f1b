"""Checks of blocks by their language, without running them."""

import configparser
import json
import os
import re
import subprocess

import yaml

import queries
from blocks import Mistake

# Seconds that a program may take that only checks something.
LIMIT = 60

# What Debian and Fedora have enabled, or what the documents say to enable. Those that are missing are left out.
MODULES = """mpm_event authz_core authz_host authz_user authn_core authn_file auth_basic auth_digest access_compat alias dir mime log_config setenvif
headers rewrite macro env expires deflate filter unixd status remoteip reqtimeout proxy proxy_http proxy_balancer proxy_hcheck lbmethod_bybusyness
slotmem_shm watchdog ssl socache_shmcb xsendfile vhost_alias http2""".split()

# What Apache says about any configuration, about a DocumentRoot that only a real site has, and about a macro whose accounts were replaced.
HARMLESS = re.compile(r"Syntax OK|AH00558|AH00112|AH02800|^\s*$")

_INSTRUCTIONS = re.compile(r"(?i)(FROM|RUN|COPY|ADD|USER|ENV|ARG|WORKDIR|ENTRYPOINT|CMD|EXPOSE|HEALTHCHECK|LABEL|VOLUME|STOPSIGNAL|SHELL)\s+\S")


class Apache:
    """The Apache of this machine, as apxs describes it."""

    def __init__(self, prefix):
        self.prefix = prefix
        apxs = next((name for name in ("apxs", "apxs2") if _finds(name)), None)
        if apxs is None:
            raise SystemExit("tests/documents: apxs is not there: install the package apache2-dev")

        def query(name):
            return subprocess.run([apxs, "-q", name], capture_output=True, text=True, check=True).stdout.strip()

        self.program = os.path.join(query("sbindir"), query("progname"))
        directory = query("libexecdir")
        self.modules = [
            f'LoadModule {name}_module "{directory}/mod_{name}.so"'
            for name in MODULES
            if os.path.exists(f"{directory}/mod_{name}.so")
        ]

    def configuration(self, sandbox, text):
        """Returns a whole configuration with this text."""
        module = "" if "LoadModule wsgi_module" in text else f'LoadModule wsgi_module "{self.prefix}/lib/mod_wsgi/mod_wsgi.so"'
        return "\n".join(
            [
                f'ServerRoot "{sandbox.root}"',
                "ServerName localhost",
                f"Listen 127.0.0.1:{sandbox.port}",
                'ErrorLog "error_log"',
                'PidFile "httpd.pid"',
                'TypesConfig "/dev/null"',
                *self.modules,
                module,
                text,
            ]
        )

    def check(self, sandbox, block, text):
        """Has Apache read a configuration, which is in a file of the sandbox."""
        around = block.settings.get("in")
        if around:
            text = f"{around}\n{text}\n</{around[1:].split()[0].rstrip('>')}>\n"
        before = "".join(sandbox.read(name) for name in block.settings.get("with", "").split())
        # Accounts that a real site would have.
        before, text = (re.sub(r"(?<![\w-])(user|group)=\S+", r"\1=#65534", each) for each in (before, text))
        configuration = self.configuration(sandbox, f"{before}\n{text}")
        file = sandbox.path(f".check-{block.line}.conf")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(configuration)
        done = subprocess.run([self.program, "-t", "-f", file], capture_output=True, text=True, timeout=LIMIT, check=False)
        said = [line for line in (done.stdout + done.stderr).split("\n") if not HARMLESS.search(line)]
        if done.returncode != 0 or said:
            raise Mistake(f"{block.place}: Apache says of this configuration:\n" + (done.stderr if done.returncode else "\n".join(said)))


def _finds(program):
    return any(os.access(os.path.join(each, program), os.X_OK) for each in os.environ["PATH"].split(":"))


def check(block, text, sandbox, apache):
    """Checks a block that is not run as far as its language permits."""
    try:
        match block.language:
            case "apache":
                apache.check(sandbox, block, text)
            case "python":
                compile(text, block.place, "exec")
            case "yaml":
                for document in yaml.safe_load_all(text):
                    queries.structure(block.place, document)
            case "promql":
                for query in text.strip().split("\n"):
                    queries.check(block.place, query)
            case "json":
                json.loads(text)
            case "sh" | "console":
                shell(block, text)
            case "ini":
                configparser.ConfigParser(strict=False, interpolation=None).read_string(text)
            case "dockerfile":
                for line in text.replace("\\\n", " ").split("\n"):
                    if line.strip() and not line.startswith("#") and not _INSTRUCTIONS.match(line):
                        raise Mistake(f"{block.place}: this is no instruction of a container file: {line}")
    except (SyntaxError, yaml.YAMLError, ValueError, configparser.Error) as error:
        raise Mistake(f"{block.place}: {error}") from error


def shell(block, text):
    if block.language == "console":
        text = "\n".join(line.removeprefix("$ ") for line in text.split("\n") if line.startswith("$ "))
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise Mistake(f"{block.place}: {done.stderr}")
