"""Does harm to the process that it runs in, and tries to do some to others: /<what>/<how>, or /<moment>/<way to end>."""

import atexit
import os
import signal
import sys
import threading
import time

import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]

at_stop = []
mod_wsgi.subscribe_shutdown(lambda name, **event: [way() for way in at_stop])


def say(text):
    print(text, file=sys.stderr, flush=True)


# Ways to end a process, or to try it.


def os_exit():
    os._exit(7)


def abort():
    os.abort()


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def exec_true():
    os.execv("/bin/true", ["true"])


def exec_sleep():
    """Becomes a program that does not know what it is expected to do."""
    os.execv("/bin/sleep", ["sleep", "40"])


def system_exit():
    raise SystemExit(5)


def keyboard_interrupt():
    raise KeyboardInterrupt("hostile")


def generator_exit():
    raise GeneratorExit("hostile")


def recursion():
    return recursion()


# Moments.


def before(way, start_response):
    way()
    start_response("200 OK", PLAIN)
    return [b"survived"]


def after_start(way, start_response):
    start_response("200 OK", PLAIN)
    way()
    return [b"survived"]


def after_write(way, start_response):
    start_response("200 OK", PLAIN)(b"written")
    way()
    return [b"survived"]


def iterating(way, start_response):
    start_response("200 OK", PLAIN)
    yield b"first"
    way()
    yield b"survived"


class Closing:
    def __init__(self, way):
        self.way, self.blocks = way, [b"whole"]

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        self.way()


def closing(way, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "5")])
    return Closing(way)


def in_thread(way, start_response):
    threading.Thread(target=way, daemon=True).start()
    time.sleep(0.3)
    return before(lambda: None, start_response)


def in_destructor(way, start_response):
    class Dying:
        def __del__(self):
            way()

    Dying()
    return before(lambda: None, start_response)


def in_exit_function(way, start_response):
    atexit.register(way)
    os.kill(os.getpid(), signal.SIGTERM)
    return before(lambda: None, start_response)


def in_stopping(way, start_response):
    at_stop.append(way)
    os.kill(os.getpid(), signal.SIGTERM)
    return before(lambda: None, start_response)


# Descriptors.


def close_descriptor(number, start_response):
    try:
        os.close(int(number))
    except OSError:
        pass
    return before(lambda: None, start_response)


def write_descriptor(number, start_response):
    """Much, if it takes that; it must not block."""
    number = int(number)
    try:
        os.set_blocking(number, False)
        for _ in range(64):
            os.write(number, b"\xff" * 4096)
    except OSError:
        pass
    return before(lambda: None, start_response)


def replace_descriptor(number, start_response):
    """By something that always has something to read."""
    with open("/dev/zero") as zero:
        os.dup2(zero.fileno(), int(number))
    return before(lambda: None, start_response)


def descriptors(how, start_response):
    """Which there are."""
    numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    start_response("200 OK", PLAIN)
    return [" ".join(map(str, numbers)).encode()]


# Signals.


def to_itself(name, start_response):
    os.kill(os.getpid(), getattr(signal, name))
    return before(lambda: None, start_response)


def to_parent(name, start_response):
    try:
        os.kill(os.getppid(), getattr(signal, name))
        text = b"sent"
    except PermissionError:
        text = b"refused"
    start_response("200 OK", PLAIN)
    return [text]


def to_group(name, start_response):
    os.killpg(0, getattr(signal, name))
    return before(lambda: None, start_response)


def to_thread(name, start_response):
    signal.pthread_kill(threading.main_thread().ident, getattr(signal, name))
    return before(lambda: None, start_response)


def pause(how, start_response):
    """Is stopped, until a child lets it go on."""
    if os.fork() == 0:
        time.sleep(0.5)
        os.kill(os.getppid(), signal.SIGCONT)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.wait()
    return before(lambda: None, start_response)


# Processes and threads.


def fork_and_return(how, start_response):
    """The copy returns from the request, too."""
    os.fork()
    return before(lambda: None, start_response)


def orphan(how, start_response):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(2)
        os._exit(0)
    os.wait()
    return before(lambda: None, start_response)


def zombies(how, start_response):
    for _ in range(30):
        if os.fork() == 0:
            os._exit(15)
    return before(lambda: None, start_response)


def many_threads(how, start_response):
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    return before(lambda: None, start_response)


# The process itself.


def title(how, start_response):
    import ctypes

    libc = ctypes.CDLL(None)
    libc.prctl(15, b"supervisor", 0, 0, 0)
    return before(lambda: None, start_response)


def limit(name, start_response):
    import resource

    kind = getattr(resource, name)
    resource.setrlimit(kind, (0, resource.getrlimit(kind)[1]))
    return before(lambda: None, start_response)


def garbage(name, start_response):
    import builtins

    match name:
        case "streams":
            sys.stdout = sys.stderr = sys.stdin = 42
        case "modules":
            sys.modules.clear()
        case "modules-none":
            for module in list(sys.modules):
                sys.modules[module] = None
        case "import":
            builtins.__import__ = None
        case "builtins":
            for function in ["len", "print", "isinstance", "Exception", "str", "bytes", "dict"]:
                delattr(builtins, function)
        case "package":
            for attribute in list(vars(mod_wsgi)):
                delattr(mod_wsgi, attribute)
        case "hooks":
            sys.excepthook = sys.unraisablehook = threading.excepthook = 1
        case "path":
            sys.path = sys.meta_path = sys.path_hooks = None
        case "trace":
            sys.settrace(lambda *arguments: 1 / 0)
            sys.setprofile(lambda *arguments: 1 / 0)
        case "recursion":
            sys.setrecursionlimit(60)
    return [start_response("200 OK", PLAIN) and b"survived"]


def fault_handler(name, start_response):
    import faulthandler

    match name:
        case "later":
            faulthandler.dump_traceback_later(0.2, exit=True, file=open("/dev/null", "w"))
            time.sleep(0.5)
        case "register":
            faulthandler.register(signal.SIGTERM, file=open("/dev/null", "w"), chain=False)
    return before(lambda: None, start_response)


def signals(name, start_response):
    match name:
        case "alarm":
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            time.sleep(0.5)
        case "ignore":
            # Not what signal.signal is here, which only warns.
            import ctypes

            libc = ctypes.CDLL(None)
            for number in range(1, 65):
                libc.signal(number, 1)
        case "mask":
            signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))
        case "wakeup":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return before(lambda: None, start_response)


def flood(name, start_response):
    """Fills what it can write to."""
    match name:
        case "errors":
            for _ in range(2000):
                sys.stderr.write("x" * 500 + "\n")
        case "descriptor":
            os.set_blocking(2, False)
            try:
                for _ in range(2000):
                    os.write(2, b"x" * 500 + b"\n")
            except OSError:
                pass
    return before(lambda: None, start_response)


def pid(how, start_response):
    start_response("200 OK", PLAIN)
    return [str(os.getpid()).encode()]


def application(environ, start_response, get=globals().get):
    _, what, how = environ["PATH_INFO"].split("/")
    way = get(how)
    return get(what)(way if callable(way) else how, start_response)
