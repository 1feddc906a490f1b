"""Sphinx's settings for the site of these documents: `make docs`.

The documents are plain Markdown, so that they can be read without the site, too. What the site needs beyond that is made here: its
navigation comes from the lists of index.md.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent

project = "mod_wsgi-rs"
author = "the authors of mod_wsgi-rs"
project_copyright = author
release = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
version = release

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
nitpicky = True
# Headings have the anchors that code hosts give them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"mod_wsgi-rs {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_search_scorer = str(ROOT / "docs/search.js")
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
highlight_language = "none"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#8a2432", "color-brand-content": "#1f5f99", "color-brand-visited": "#5b4a8a"},
    "dark_css_variables": {"color-brand-primary": "#f0919c", "color-brand-content": "#8cc2f2", "color-brand-visited": "#c0b0ee"},
}


def navigation(text):
    """Returns the first page with a hidden table of contents for each of its lists, under the heading of the list."""
    out, entries, caption = [], [], None
    for line in text.split("\n") + ["## "]:
        if line.startswith("## "):
            if entries:
                out += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]
            entries, caption = [], line[3:].strip()
        item = re.match(r"- \[([^]]+)\]\(([^)#:]+)\.md\)", line)
        if item:
            entries.append(f"{item[1].replace('`', '')} <{item[2]}>")
        out.append(line)
    return "\n".join(out[:-1])


def on_source(app, name, source):
    if name == "index":
        source[0] = navigation(source[0])


def setup(app):
    app.connect("source-read", on_source)
