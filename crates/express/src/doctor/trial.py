"""Imports an application as a process of its group would, and reports what came of it.

Run by `trial.rs` with three globals: ORDER, SOURCE (this text) and REPORT (a descriptor). An interpreter other than the main one
runs this text again, with IS_SUB.
"""

import json
import os
import signal
import sys

# Python's directories, whose files are not the application's.
LIBRARY = os.path.dirname(os.__file__)
OWN_NAMES = ("<doctor>", "<string>", "<script>")


def main():
    import faulthandler

    faulthandler.enable()
    order = json.loads(ORDER)
    if order["interpreter"] == "main":
        return run(order)
    text = f"IS_SUB, ORDER, SOURCE, REPORT = True, {ORDER!r}, '', {REPORT!r}\n{SOURCE}"
    try:
        run_elsewhere(text, own_gil=order["interpreter"] == "own-gil")
    except ImportError:
        # This Python cannot make one: the main interpreter has to do.
        return run(order)


def run_elsewhere(text, own_gil):
    """Runs a text in an interpreter of its own. It ends the process itself."""
    if sys.version_info >= (3, 13):
        import _interpreters

        problem = _interpreters.run_string(_interpreters.create("isolated" if own_gil else "legacy"), text)
        if problem is not None:
            sys.stderr.write(f"{problem.formatted}\n")
    else:
        import _xxsubinterpreters

        # Before 3.12 there is no lock of its own, and nothing that such an interpreter would not load.
        isolated = own_gil and sys.version_info >= (3, 12)
        _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=isolated), text)


def run(order):
    own = os.getpid()
    for name in ("home", "entry"):
        if order[name] and not (name == "entry" and order["kind"] == "module"):
            order[name] = path_of(order[name])
    order["path"] = [path_of(entry) for entry in order["path"]]
    report = {"loaded": False, "python": sys.version.split()[0]}
    sys.argv = ["mod_wsgi"]
    set_locale(report)
    set_path(order)
    stand_in(order)
    missed = record_missed_variables()
    # An application may replace these while it is imported, as it may anything.
    write, encode, leave, alarm = os.write, json.dumps, os._exit, signal.alarm
    try:
        name, found, holder = load(order)
        if found is None:
            report["lacks"] = {"callable": name, "candidates": candidates(holder)}
        elif not callable(found):
            report["lacks"] = {"callable": name, "is": type(found).__name__, "candidates": candidates(holder)}
        else:
            report["loaded"] = True
    except BaseException as error:
        report["error"] = describe(error)
    if os.getpid() != own:
        # A copy of this process, which the application has made.
        leave(1)
    report["missed"] = sorted(missed)
    for name, facts in (("memory", memory), ("extensions", extensions), ("authorization", lambda: authorization(order)), ("modules", modules)):
        try:
            report[name] = facts()
        except BaseException:
            pass
    # What stands for bytes in the name of a file is no text.
    text = encode(report, ensure_ascii=False).encode("utf-8", "replace")
    while text:
        text = text[write(REPORT, text) :]
    try:
        import atexit

        # The report is made: whether this ends, or how, changes nothing.
        alarm(5)
        # What the application has registered may tidy up; its threads are not waited for.
        atexit._run_exitfuncs()
    except BaseException:
        pass
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    leave(0)


def path_of(text):
    """Returns the path of a text of which each character is a byte."""
    return os.fsdecode(text.encode("latin-1"))


def set_locale(report):
    import locale

    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        report["no_locale"] = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG", "")
    report["encoding"] = [sys.getfilesystemencoding(), locale.getpreferredencoding(False)]


def set_path(order):
    import site

    sys.path[:] = [entry for entry in sys.path if entry]
    before = list(sys.path)
    for entry in order["path"]:
        site.addsitedir(entry)
    fresh = [entry for entry in sys.path if entry not in before]
    home = [order["home"]] if order["home"] else []
    sys.path[:] = [*home, *fresh, *before]


def stand_in(order):
    """Gives the modules `mod_wsgi` and `apache` what applications look for while they are imported."""
    import logging
    import types
    import wsgiref.util

    def given(callback):
        return callback

    def nothing(*arguments, **options):
        return None

    try:
        import mod_wsgi
    except ImportError:
        mod_wsgi = sys.modules["mod_wsgi"] = types.ModuleType("mod_wsgi")
    timeout = type("RequestTimeout", (BaseException,), {"__module__": "mod_wsgi"})
    values = {
        "version": (6, 1, 1),
        "process_group": order["group"],
        "application_group": order["application_group"],
        "maximum_processes": order["processes"],
        "threads_per_process": order["threads"],
        "RequestTimeout": timeout,
        "FileWrapper": wsgiref.util.FileWrapper,
        "LogHandler": logging.StreamHandler,
        "active_requests": {},
        "event_callbacks": [],
        "shutdown_callbacks": [],
        "signal_callbacks": [],
        "subscribe_events": given,
        "subscribe_shutdown": given,
        "subscribe_signals": given,
    }
    for name in ("request_data", "start_recording_metrics", "request_metrics", "process_metrics", "server_metrics"):
        values[name] = nothing
    vars(mod_wsgi).update(values)
    apache = sys.modules["apache"] = types.ModuleType("apache")
    apache.version = (2, 4, 0)
    apache.description = apache.mpm_name = apache.build_date = ""
    apache.maximum_processes, apache.threads_per_process = order["processes"], order["threads"]


def record_missed_variables():
    """Returns a set that the names of variables are put into which are looked up in vain."""
    missed = set()
    look_up = os._Environ.__getitem__

    def recording(self, key):
        try:
            return look_up(self, key)
        except KeyError:
            missed.add(str(key))
            raise

    os._Environ.__getitem__ = recording
    return missed


def load(order):
    """Returns the name of the callable, the callable, if there is one, and the module that it was looked for in."""
    import importlib
    import types

    entry, names = order["entry"], order["callables"]
    if order["kind"] == "paste":
        from paste.deploy import loadapp

        return "", loadapp(f"config:{entry}"), None
    if order["kind"] == "module":
        module = importlib.import_module(entry)
    else:
        module = types.ModuleType(order["module"])
        module.__file__ = entry
        with open(entry, "rb") as file:
            code = compile(file.read(), entry, "exec")
        sys.modules[order["module"]] = module
        exec(code, module.__dict__)
    if not names:
        return "", main, module
    for name in names:
        found = module
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part, None)
        if found is not None:
            return name, found() if name.endswith("()") else found, module
    return " or ".join(names), None, module


def candidates(module):
    """Returns the names in a module that look like WSGI callables."""
    import inspect

    found = []
    for name, value in list(vars(module).items()) if module else ():
        if name.startswith("_") or inspect.isclass(value) or not callable(value):
            continue
        try:
            parameters = list(inspect.signature(value).parameters)
        except (TypeError, ValueError):
            continue
        if parameters[:2] == ["environ", "start_response"] or name in ("app", "application"):
            found.append(name)
    return found


def text_of(error):
    try:
        return str(error)
    except BaseException:
        return "(its text cannot be had)"


def describe(error):
    import traceback

    frames = [[frame.filename, frame.lineno, frame.name] for frame in traceback.extract_tb(error.__traceback__)]
    frames = [frame for frame in frames if frame[0] not in OWN_NAMES and not frame[0].startswith("<frozen")]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append([error.filename, error.lineno or 0, "<module>"])
    chain, cause = [], error
    while cause is not None and len(chain) < 10:
        chain.append(f"{type(cause).__name__}: {text_of(cause)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = str(error.msg) if isinstance(error, SyntaxError) else text_of(error)
    described = {"type": type(error).__name__, "text": text, "frames": frames[-20:], "chain": chain}
    if isinstance(error, ImportError):
        described["module"] = error.name
    if isinstance(error, OSError):
        described["errno"], described["file"] = error.errno, str(error.filename)
    traceback.print_exc()
    return described


def memory():
    """Returns the resident memory in bytes, without what is shared with other programs."""
    with open("/proc/self/statm", encoding="ascii") as file:
        _, resident, shared = file.read().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def extensions():
    """Returns the extension modules from outside of the standard library that interpreters other than the main one cannot
    have for themselves, each with the reason."""
    import ctypes

    if not hasattr(sys, "abiflags") or "t" in sys.abiflags:
        return []
    definition = ctypes.pythonapi.PyModule_GetDef
    definition.argtypes, definition.restype = [ctypes.py_object], ctypes.c_void_p
    # PyModuleDef: a base of five words; name, doc, size, methods; then the slots, which end with a zero.
    word = ctypes.sizeof(ctypes.c_void_p)
    found = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if not isinstance(file, str) or not file.endswith(".so") or "lib-dynload" in file or type(module) is not type(sys):
            continue
        address = definition(module)
        if not address:
            continue
        slots = ctypes.c_void_p.from_address(address + 9 * word).value
        if not slots:
            found.append([name, "single-phase"])
            continue
        support = None
        while slots and (slot := ctypes.c_int.from_address(slots).value):
            if slot == 3:
                support = ctypes.c_void_p.from_address(slots + word).value or 0
            slots += 2 * word
        if sys.version_info >= (3, 12) and support == 0:
            found.append([name, "not supported"])
    return found


def modules():
    return sorted({name.partition(".")[0] for name in sys.modules})


def authorization(order):
    """Returns why the application seems to want the header Authorization."""
    if "rest_framework" in sys.modules and "django.conf" in sys.modules:
        settings = sys.modules["django.conf"].settings
        classes = getattr(settings, "REST_FRAMEWORK", {}).get(
            "DEFAULT_AUTHENTICATION_CLASSES", ["rest_framework.authentication.BasicAuthentication"]
        )
        names = [name if isinstance(name, str) else name.__name__ for name in classes]
        names = [name.rpartition(".")[2] for name in names if "Session" not in name and "RemoteUser" not in name]
        if names:
            return f"Django REST framework authenticates with {names[0]}"
    for name in ("flask_httpauth", "flask_jwt_extended", "rest_framework_simplejwt", "oauth2_provider", "knox"):
        if name in sys.modules:
            return f"the package {name} is loaded"
    places = [order["home"], *order["path"], os.path.dirname(order["entry"]) if order["kind"] != "module" else None]
    places = [os.path.join(place, "") for place in places if place and place != "/"]
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(tuple(places)) or "-packages" in file or file.startswith(LIBRARY):
            continue
        if not os.path.isfile(file) or os.path.getsize(file) > 1 << 20 or file.endswith(".so"):
            continue
        with open(file, encoding="utf-8", errors="replace") as source:
            for number, line in enumerate(source, 1):
                plain = line.replace("'", '"')
                if "HTTP_AUTHORIZATION" in plain or ".headers.get(\"Authorization\"" in plain or "request.authorization" in plain:
                    return f"{file}:{number} reads it"
    return None


if globals().get("IS_SUB"):
    run(json.loads(ORDER))
else:
    main()
