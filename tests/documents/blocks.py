"""Finds the blocks of code in documents, and the class of each: see CONTRIBUTING.md."""

import dataclasses
import re

# What becomes of a block of a language when nothing is said about it before the block. Blocks of other languages need a comment.
DEFAULTS = {
    "apache": "check",
    "console": "run",
    "dockerfile": "check",
    "ini": "check",
    "json": "check",
    "promql": "check",
    "python": "check",
    "text": "shown",
    "yaml": "check",
}
CLASSES = {"check", "run", "serve", "fails", "options", "not run", "same as", "shown"}

_FENCE = re.compile(r"^( *)(```+|~~~+) *(\S*)")
_COMMENT = re.compile(r"^ *<!-- test: (.*?) -->$")
_GIVEN = re.compile(r"^ *<!-- given: (.*?) -->$")


class Mistake(Exception):
    """A block, or what it shows, is wrong."""


@dataclasses.dataclass
class Block:
    """A block of code, or files that the blocks after it need (`given`)."""

    page: str
    line: int
    language: str
    text: str
    # One of CLASSES, and what stands behind it in the comment.
    kind: str
    detail: str = ""
    # Settings of the comment: file, append, with, in, port, as, from.
    settings: dict = dataclasses.field(default_factory=dict)

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def parse(page, text):
    """Returns the blocks of a document."""
    blocks, mistakes = [], []
    lines = text.split("\n")
    comment, fence, body, before = None, None, [], ""
    for number, line in enumerate(lines, 1):
        if fence is not None:
            indent, mark, language, start = fence
            if line.strip() == mark:
                content = "\n".join(each.removeprefix(indent) for each in body) + "\n"
                try:
                    blocks.append(classify(page, start, language, content, comment))
                except Mistake as mistake:
                    mistakes.append(mistake)
                comment, fence, body = None, None, []
            else:
                body.append(line)
            continue
        opening = _FENCE.match(line)
        said, given = _COMMENT.match(line), _GIVEN.match(line)
        if opening:
            fence = opening[1], opening[2], opening[3], number
        elif said:
            comment = said[1]
        elif given:
            blocks.append(Block(page, number, "", given[1], "given"))
        elif line.strip() and comment is not None:
            mistakes.append(Mistake(f"{page}:{number}: a comment `test:` has to be followed by its block"))
            comment = None
        elif re.match(r" {4}(?! *([-*]|\d+\.) )\S", line) and not before.strip() and not _within_list(lines, number):
            mistakes.append(Mistake(f"{page}:{number}: a block of code without fences has no language, so it cannot be tested"))
        before = line
    if mistakes:
        raise Mistake("\n".join(map(str, mistakes)))
    return blocks


def _within_list(lines, number):
    """Returns whether a line continues an item of a list, rather than being code."""
    for line in reversed(lines[: number - 1]):
        if line and not line.startswith(" "):
            return bool(re.match(r"[-*] |\d+\. ", line))
    return False


def classify(page, line, language, text, comment):
    """Returns a block with its class; without one, it is a mistake."""
    where = f"{page}:{line}"
    if not language:
        raise Mistake(f"{where}: the block names no language; `text` is for what is only shown")
    block = Block(page, line, language, text, DEFAULTS.get(language, ""))
    if comment is not None:
        # A class may come first; what follows are settings, such as `file app.wsgi, in <Directory /srv>`.
        kind, colon, detail = comment.partition(":")
        if colon and kind in ("not run", "shown"):
            block.kind, block.detail = kind, detail.strip()
            if not block.detail:
                raise Mistake(f"{where}: say why")
            return block
        for part in comment.split(", "):
            word, _, value = part.partition(" ")
            if part.startswith("same as "):
                block.kind, block.detail = "same as", part.removeprefix("same as ")
            elif part in CLASSES:
                block.kind = part
            elif word in ("file", "append", "with", "in", "port") and value or part in ("as root", "from checkout"):
                block.settings[word] = value
            else:
                raise Mistake(f"{where}: `{part}` is not known in a comment `test:`")
    if not block.kind:
        raise Mistake(f"{where}: the block ({language}) has no class: put a comment such as <!-- test: run --> before it")
    return block
