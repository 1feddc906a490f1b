"""The former name of mod_wsgi.express."""

import warnings

warnings.warn(
    "mod_wsgi.server is the former name of mod_wsgi.express: use that, also in INSTALLED_APPS of Django",
    FutureWarning,
    stacklevel=2,
)

# Where the names are that used to be here.
_MODULES = {
    "start": "cli",
    "main": "cli",
    "ApplicationHandler": "runtime",
    "ResourceHandler": "runtime",
    "PostMortemDebugger": "runtime",
    "RequestRecorder": "runtime",
    "option_list": "options",
    "setup_server": "server",
    "ConfigurationError": "server",
}


def __getattr__(name):
    # Imported when they are asked for: most need the program mod_wsgi-express.
    if name not in _MODULES:
        raise AttributeError(f"module 'mod_wsgi.server' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"mod_wsgi.express.{_MODULES[name]}"), name)
