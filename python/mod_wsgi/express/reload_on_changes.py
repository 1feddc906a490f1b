"""Imported into each daemon process by the option --reload-on-changes of mod_wsgi-express."""

from mod_wsgi.express.reloader import start_reloader

start_reloader()
