"""Tells which interpreter it runs in, and what that is like."""

import atexit
import json
import os
import sys
import threading

import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]
local = threading.local()

atexit.register(lambda: print(f"atexit of {mod_wsgi.application_group!r}"))
mod_wsgi.subscribe_shutdown(
    lambda name, **event: print(f"{name} {event['shutdown_reason']!r} of {mod_wsgi.application_group!r}")
)


def ending(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__


def group(environ, start_response):
    """Which interpreter this is, said by the environ, the module, and the modules that are loaded."""
    shared = json.__dict__.setdefault("e2e_group", mod_wsgi.application_group)
    local.count = getattr(local, "count", 0) + 1
    lines = [
        f"environ\t{environ['mod_wsgi.application_group']}",
        f"module\t{mod_wsgi.application_group}",
        f"shared\t{shared}",
        f"main\t{threading.main_thread().name}",
        f"daemon\t{threading.current_thread().daemon}",
        f"local\t{local.count}",
        f"thread\t{threading.get_ident()}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def state(environ, start_response):
    lines = [
        f"path\t{sys.path!r}",
        f"optimize\t{sys.flags.optimize}",
        f"bytecode\t{sys.dont_write_bytecode}",
        f"hash\t{hash('e2e')}",
        f"randomized\t{sys.flags.hash_randomization}",
        f"warnoptions\t{sys.warnoptions!r}",
        f"interval\t{sys.getswitchinterval():.4f}",
        f"prefix\t{sys.prefix}",
        f"version\t{sys.version_info[0]}.{sys.version_info[1]}",
        f"own-directory\t{os.path.dirname(__file__) in sys.path}",
        f"argv\t{sys.argv!r}",
        f"main-module\t{sys.modules['__main__'].__name__}",
        f"daemon-thread\t{ending(daemon_thread)}",
        f"thread\t{ending(ordinary_thread)}",
        f"print\t{ending(lambda: print('printed'))}",
        f"module-on-path\t{ending(lambda: __import__('on_the_path').VALUE)}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def fork(environ, start_response):
    def forked():
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    start_response("200 OK", PLAIN)
    return [f"fork\t{ending(forked)}".encode()]


def daemon_thread():
    thread = threading.Thread(target=lambda: None, daemon=True)
    thread.start()
    thread.join()


def ordinary_thread():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def module(environ, start_response):
    import apache

    lines = [
        f"version\t{mod_wsgi.version!r}",
        f"process_group\t{mod_wsgi.process_group!r}",
        f"processes\t{mod_wsgi.maximum_processes!r}",
        f"multiprocess\t{environ['wsgi.multiprocess']!r}",
        f"threads\t{mod_wsgi.threads_per_process!r}",
        f"timeout\t{mod_wsgi.RequestTimeout.__mro__!r} {mod_wsgi.RequestTimeout.__module__}",
        f"wrapper\t{environ['wsgi.file_wrapper'] is mod_wsgi.FileWrapper}",
        f"file\t{ending(lambda: mod_wsgi.__file__)}",
        f"spec\t{mod_wsgi.__spec__!r} {mod_wsgi.__doc__!r}",
        f"callbacks\t{type(mod_wsgi.event_callbacks).__name__} {type(mod_wsgi.shutdown_callbacks).__name__} "
        f"{type(mod_wsgi.signal_callbacks).__name__}",
        f"active\t{mod_wsgi.active_requests.get(environ['mod_wsgi.request_id']) is mod_wsgi.request_data()}",
        f"data\t{type(mod_wsgi.request_data()).__name__}",
        f"subscribe\t{mod_wsgi.subscribe_events(len) is len} {mod_wsgi.event_callbacks.pop() is len}",
        f"subscribe-two\t{ending(lambda: mod_wsgi.subscribe_events(len, len))}",
        f"subscribe-none\t{ending(lambda: mod_wsgi.subscribe_shutdown())}",
        f"metrics\t{ending(lambda: mod_wsgi.request_metrics())} {ending(lambda: mod_wsgi.process_metrics())} "
        f"{ending(lambda: mod_wsgi.server_metrics())}",
        f"apache-version\t{apache.version[:2]!r} {len(apache.version)}",
        f"apache-mpm\t{apache.mpm_name!r}",
        f"apache-description\t{apache.description.split('/')[0]}",
        f"apache-built\t{type(apache.build_date).__name__}",
        f"apache-limits\t{apache.maximum_processes == mod_wsgi.maximum_processes} "
        f"{apache.threads_per_process == mod_wsgi.threads_per_process}",
    ]
    outside = []
    thread = threading.Thread(target=lambda: outside.append(ending(mod_wsgi.request_data)))
    thread.start()
    thread.join()
    lines.append(f"outside\t{outside[0]}")
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
