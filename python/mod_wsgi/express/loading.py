"""Loads what mod_wsgi-express was told to serve, for the scripts that it generates."""

import importlib
import importlib.util
import os
import re
import sys
import types


def script(path, callable_object):
    """Returns the WSGI callable of a script file, and the function that says whether it has changed."""
    changed = _changes(path)
    loaded = _execute("__wsgi__", path)
    try:
        return getattr(loaded, callable_object), changed
    except AttributeError:
        raise ImportError(
            f"the script {path} has no {callable_object}; name its WSGI callable with --callable-object"
        ) from None


def module(name, callable_object):
    """Returns the WSGI callable of a module, and the function that says whether it has to be loaded again."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None:
        raise ImportError(
            f"there is no module {name}, which mod_wsgi-express was told to serve (--application-type module); "
            "name the directory that it is in with --working-directory or --python-path"
        )
    path = spec.origin if spec.has_location else None
    changed = _changes(path)
    return _callable(importlib.import_module(name), callable_object, path), changed


def _callable(loaded, name, path):
    """Returns the WSGI callable of a module: `app`, `shop.app`, or what a factory returns, `create_app()`."""
    found = loaded
    for part in name.removesuffix("()").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImportError(
                f"the module {loaded.__name__} ({path}) has no {name}; name its WSGI callable with --callable-object"
            ) from None
    return found() if name.endswith("()") else found


def paste(path):
    """Returns the application of a PasteDeploy configuration, and the function that says whether it has changed."""
    try:
        from paste.deploy import loadapp
    except ModuleNotFoundError as error:
        if error.name not in ("paste", "paste.deploy"):
            raise
        raise ImportError("--application-type paste needs the package PasteDeploy: pip install PasteDeploy") from error
    changed = _changes(path)
    return loadapp(f"config:{path}"), changed


def resources(scripts):
    """Returns the handler of files with these extensions, and the function that says whether a script has changed."""
    handler = Resources(scripts)
    return handler.handle_request, handler.reload_required


class Resources:
    """Scripts that handle files, by the extensions of those."""

    def __init__(self, scripts):
        self._changes = [_changes(path) for path in scripts.values()]
        self._loaded = {extension: _resource(extension, path) for extension, path in scripts.items()}

    def extension(self, resource):
        """Returns the extension that decides who handles a file."""
        # As Apache does, which looks at all extensions of a name, and takes the last that it knows.
        extensions = reversed(os.path.basename(resource).split(".")[1:])
        return next(f".{name.lower()}" for name in extensions if f".{name.lower()}" in self._loaded)

    def handle_request(self, environ, start_response):
        script = self._loaded[self.extension(environ["SCRIPT_FILENAME"])]
        handler = getattr(script, "handle_request", None) or script.application
        return handler(environ, start_response)

    def reload_required(self, resource):
        resource = os.fsdecode(resource)
        if any(changed(resource) for changed in self._changes):
            return True
        own = getattr(self._loaded[self.extension(resource)], "reload_required", None)
        return bool(own and own(resource))


def _resource(extension, path):
    script = _execute(f"__wsgi_resource{re.sub(r'[^a-zA-Z0-9_]', '_', extension)}__", path)
    if not (hasattr(script, "handle_request") or hasattr(script, "application")):
        raise ImportError(f"{path} of --add-handler {extension} has neither handle_request nor application")
    return script


def _execute(name, path):
    script = types.ModuleType(name)
    script.__file__ = path
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    sys.modules[name] = script
    exec(code, script.__dict__)
    return script


def _changes(path):
    before = _modified(path)

    def reload_required(resource):
        now = _modified(path)
        return now is not None and now != before

    return reload_required


def _modified(path):
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, TypeError):
        return None
