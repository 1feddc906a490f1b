"""Checks that what documents name exists: directives, codes, options, targets of the Makefile, and addresses by their syntax."""

import os
import re
import urllib.parse

from blocks import Mistake

# Names that begin as directives do, but are others' or mean all of a kind.
OTHER_DIRECTIVES = set(
    """WSGIApplication WSGIVerboseDebugging
    WSGILazyInitialization WSGIPy3kWarningFlag WSGIUserAuthoritative WSGINewRelicConfigFile WSGINewRelicEnvironment
    WSGIRequests WSGIErrors WSGIRejected WSGIBusy WSGIQueued WSGIProcesses WSGIBytesSent WSGIDuration""".split()  # lines of mod_status
)
ALIAS_OPTIONS = {"process-group", "application-group", "callable-object", "pass-authorization"}
# Options of mod_wsgi-express are checked where its name stands on the same line, or in these pages.
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]+)")


class References:
    """What there is to be named."""

    def __init__(self, root):
        def read(name):
            with open(os.path.join(root, name), encoding="utf-8") as file:
                return file.read()

        self.directives = set(re.findall(r"^## (WSGI\w+)$", read("docs/directives.md"), re.MULTILINE))
        self.codes = set(re.findall(r"^## (WSGI\d{4})$", read("docs/errors.md"), re.MULTILINE))
        self.options = set(re.findall(r"`--([a-z0-9-]+)`", read("docs/express.md")))
        self.targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
        self.group_options = set(re.findall(r"^\| `([a-z-]+)=` \|", read("docs/directives.md"), re.MULTILINE))
        if not (self.directives and self.codes and self.options and self.group_options):
            raise Mistake("the manuals of directives, codes and options do not look as expected")

    def replacements(self, page, where, line):
        """Yields what the last column of a table about moving from another server promises and is not there."""
        if os.path.basename(page).startswith("from-") and line.startswith("| "):
            last = line.rstrip(" |").rpartition(" | ")[2]
            for name in re.findall(r"`([a-z][a-z-]+)=", last):
                if name not in self.group_options | ALIAS_OPTIONS:
                    yield f"{where}: there is no option {name}="
            for name in re.findall(r"`--([a-z0-9-]+)", last):
                if name not in self.options:
                    yield f"{where}: mod_wsgi-express has no option --{name}"

    def check(self, page, text):
        """Raises for what a page names and is not there."""
        mistakes = []
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{page}:{number}"
            for name in re.findall(r"\bWSGI[A-Z][A-Za-z]+\b", line):
                if name not in self.directives and name not in OTHER_DIRECTIVES:
                    mistakes.append(f"{where}: there is no directive {name}")
            for code, address in re.findall(r"\[`?(WSGI\d{4})`?\]\(([^)]*)\)", line):
                if address not in (f"errors.md#{code.lower()}", f"docs/errors.md#{code.lower()}", f"#{code.lower()}"):
                    mistakes.append(f"{where}: the link of {code} does not lead to its section of errors.md")
            for code in re.findall(r"\bWSGI[01]\d{3}\b", line):
                if code not in self.codes and code not in ("WSGI0999", "WSGI1001"):
                    mistakes.append(f"{where}: there is no code {code}")
            if re.search(r"mod_wsgi-express start-server|mod_wsgi-express setup-server|express\.md#", line):
                for option in OPTION.findall(re.sub(r"\]\([^)]*\)", "]", line)):
                    if option not in self.options and option not in ("help", "option"):
                        mistakes.append(f"{where}: mod_wsgi-express has no option --{option}")
            for words in re.findall(r"(?:^|`|  )make((?: [a-z-]+)+)(?=`|$|  | [A-Z#])", line):
                for target in words.split():
                    if target not in self.targets:
                        mistakes.append(f"{where}: the Makefile has no target {target}")
            for address in re.findall(r"\]\((https?:[^)]*)\)", line):
                parts = urllib.parse.urlsplit(address)
                if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", parts.netloc) or re.search(r"[\s<>\"]", address):
                    mistakes.append(f"{where}: this is no address: {address}")
            for option in re.findall(r"\bWSGIDaemonProcess\b[^|]*", line):
                for name in re.findall(r"(?<=\s)([a-z-]+)=\S", option):
                    if name not in self.group_options:
                        mistakes.append(f"{where}: WSGIDaemonProcess has no option {name}=")
            mistakes += self.replacements(page, where, line)
        if mistakes:
            raise Mistake("\n".join(mistakes))
