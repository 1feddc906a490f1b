"""Shows and does what a daemon process may: its identity, its limits, and ways to come to harm."""

import errno
import gc
import os
import resource
import signal
import sys
import threading
import time

import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]
local = threading.local()
runs = []
kept = []
signals = []

mod_wsgi.subscribe_shutdown(lambda name, **event: print(f"stopping: {event['shutdown_reason']}"))
mod_wsgi.subscribe_signals(lambda name, **event: signals.append(event["signame"]))


def answer(start_response, *lines):
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def say(environ, text):
    environ["wsgi.errors"].write(f"{text}\n")
    environ["wsgi.errors"].flush()


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


def pid(environ, start_response):
    return answer(start_response, str(os.getpid()))


def state(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    names = ["HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "PLAIN", "BLANKS", "FROM_FILE", "PYTHON_EGG_CACHE", "LATER"]
    lines = [
        f"pid\t{os.getpid()}",
        f"ids\t{os.getresuid()} {os.getresgid()}",
        f"groups\t{sorted(os.getgroups())}",
        f"umask\t{umask:04o}",
        f"directory\t{os.getcwd()}",
        f"nice\t{os.nice(0)}",
        f"path\t{sys.path[0]}",
        f"executable\t{sys.executable}",
        f"prefix\t{sys.prefix}",
        f"version\t{sys.version_info[0]}.{sys.version_info[1]}",
        f"argv\t{sys.argv!r}",
        f"interval\t{sys.getswitchinterval():.4f}",
        f"data-limit\t{resource.getrlimit(resource.RLIMIT_DATA)}",
        f"address-limit\t{resource.getrlimit(resource.RLIMIT_AS)}",
        f"cpu-limit\t{resource.getrlimit(resource.RLIMIT_CPU)}",
        f"process_group\t{mod_wsgi.process_group}",
        f"environ_group\t{environ['mod_wsgi.process_group']}",
        f"multiprocess\t{environ['wsgi.multiprocess']}",
        f"multithread\t{environ['wsgi.multithread']}",
        f"run_once\t{environ['wsgi.run_once']}",
        f"script\t{environ['SCRIPT_FILENAME']}",
        f"document-root\t{environ.get('DOCUMENT_ROOT')}",
        f"mine\t{getattr(mod_wsgi, 'e2e_imported', None)}",
    ]
    lines += [f"{name}\t{os.environ.get(name)}" for name in names]
    return answer(start_response, *lines)


def run(environ, start_response):
    """Is remembered."""
    runs.append(environ["QUERY_STRING"])
    return answer(start_response, "ran")


def ran(environ, start_response):
    return answer(start_response, " ".join(runs))


def seen_signals(environ, start_response):
    return answer(start_response, " ".join(signals))


def hold(environ, start_response):
    """Answers when the gate that the query names is open."""
    say(environ, f"holds {environ['QUERY_STRING']}")
    wait_for(os.path.join(environ["test.gates"], environ["QUERY_STRING"]))
    return answer(start_response, str(os.getpid()))


def hold_and_say(environ, start_response):
    """Says when it has ended: its client may have gone."""
    response = hold(environ, start_response)
    say(environ, f"has held {environ['QUERY_STRING']}")
    return response


def hold_late(environ, start_response):
    """Sends a block, and the rest when the gate is open."""
    start_response("200 OK", PLAIN)
    yield b"first "
    wait_for(os.path.join(environ["test.gates"], environ["QUERY_STRING"]))
    yield b"second"


def sleep(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    return answer(start_response, str(os.getpid()))


def read(environ, start_response):
    length = len(environ["wsgi.input"].read())
    return answer(start_response, str(length))


def answers_much(environ, start_response):
    """13 MB, without a look at the request's body."""
    start_response("200 OK", PLAIN)
    return [b"0123456789abc" * 1024] * 1024


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    while True:
        yield b"x" * 65536


# Ways to end a process.


def kill(environ, start_response):
    os.kill(os.getpid(), int(environ["QUERY_STRING"]))
    time.sleep(30)


def kill_late(environ, start_response):
    number, _, length = environ["QUERY_STRING"].partition("/")
    headers = list(PLAIN)
    if length:
        headers.append(("Content-Length", length))
    start_response("200 OK", headers)
    yield b"data"
    # The rest must not overtake it.
    time.sleep(0.2)
    os.kill(os.getpid(), int(number))
    time.sleep(30)


def segfault(environ, start_response):
    import ctypes

    ctypes.string_at(0)


def exit_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"data"
    # The rest must not overtake it.
    time.sleep(0.2)
    os._exit(int(environ["QUERY_STRING"]))


def exits(environ, start_response):
    os._exit(int(environ["QUERY_STRING"]))


def signal_to_itself(environ, start_response):
    os.kill(os.getpid(), int(environ["QUERY_STRING"]))
    return answer(start_response, "sent")


def deadlock(environ, start_response):
    """Keeps the interpreter's lock."""
    import ctypes

    say(environ, "takes the lock")
    ctypes.PyDLL(None).sleep(60)
    return answer(start_response, "slept")


def spin(environ, start_response):
    """Uses the processor."""
    end = time.monotonic() + float(environ["QUERY_STRING"])
    while time.monotonic() < end:
        pass
    return answer(start_response, str(os.getpid()))


def swallow(environ, start_response):
    """Does not let itself be interrupted."""
    swallowed = 0
    while True:
        try:
            wait_for(os.path.join(environ["test.gates"], environ["QUERY_STRING"]))
            break
        except mod_wsgi.RequestTimeout:
            swallowed += 1
            say(environ, f"swallowed {swallowed}")
    return answer(start_response, f"swallowed {swallowed}")


def late_timeout(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"data"
    while True:
        time.sleep(0.01)


def memory(environ, start_response):
    blocks = []
    try:
        while len(blocks) < 4096:
            blocks.append(bytearray(1 << 20))
        result = "no end"
    except MemoryError:
        result = "MemoryError"
    count = len(blocks)
    blocks.clear()
    gc.collect()
    return answer(start_response, result, str(count))


def keep(environ, start_response):
    """Keeps so many megabytes."""
    kept.append(b"x" * (int(environ["QUERY_STRING"]) << 20))
    return answer(start_response, str(os.getpid()))


def hog(environ, start_response):
    """Takes memory until there is none."""
    blocks = []
    while len(blocks) < 4096:
        blocks.append(bytearray(1 << 20))
    return answer(start_response, "no end")


def descriptors(environ, start_response):
    """Takes all descriptors until the gate is open."""
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE
    # Before the log could need one.
    gate = os.path.join(environ["test.gates"], environ["QUERY_STRING"])
    say(environ, "all descriptors are taken")
    end = time.monotonic() + 20
    while not os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.01)
    for descriptor in taken:
        os.close(descriptor)
    return answer(start_response, "took them")


def close_all(environ, start_response):
    os.closerange(3, 4096)
    return answer(start_response, "closed")


def smuggle(environ, start_response):
    """Sends descriptors where none belongs, in frames without content; how that ended."""
    import array
    import socket
    import struct

    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2, 0]))]
    frame = struct.pack("<IBBH", 0, 19, 0, 0)
    lines = []
    for line in open_descriptors():
        number, target = line.split(" ", 1)
        if not target.startswith("socket:"):
            continue
        with socket.socket(fileno=os.dup(int(number))) as copy:
            if copy.family != socket.AF_UNIX or copy.type.name != environ["QUERY_STRING"]:
                continue
            try:
                for _ in range(4):
                    copy.sendmsg([frame], rights, socket.MSG_DONTWAIT)
                lines.append("sent")
            except OSError as error:
                lines.append(type(error).__name__)
    return answer(start_response, *lines)


# Other processes.


def open_descriptors(process="self"):
    shown = []
    for name in sorted(os.listdir(f"/proc/{process}/fd"), key=int):
        try:
            shown.append(f"{name} {os.readlink(f'/proc/{process}/fd/{name}')}")
        except OSError:
            pass
    return shown


def forked(environ, start_response):
    """What a child that is no other program holds; it stays until the gate is open."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        held = [line for line in open_descriptors() if f"/proc/{os.getpid()}/" not in line]
        os.write(writing, "\n".join(held).encode())
        os.close(writing)
        time.sleep(float(environ["QUERY_STRING"] or 0))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        held = pipe.read().decode()
    if not environ["QUERY_STRING"]:
        os.waitpid(child, 0)
    return answer(start_response, f"child {child}", held)


def orphan(environ, start_response):
    """Leaves a process behind that ends with a status when the gate is open."""
    status, gate = environ["QUERY_STRING"].split(",")
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            # Nothing of the daemon process is to stay because of it.
            os.closerange(0, 256)
            wait_for(f"{environ['test.gates']}/{gate}")
            os._exit(int(status))
        os._exit(0)
    os.waitpid(child, 0)
    return answer(start_response, "left")


def forked_signal(environ, start_response):
    """The exit status of a child that gets a signal which a daemon process handles."""
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(1)
    time.sleep(0.05)
    os.kill(child, int(environ["QUERY_STRING"]))
    return answer(start_response, str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def subprocesses(environ, start_response):
    import subprocess

    script = "import os; print(*[os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if fd > '2'" \
             " and os.path.exists('/proc/self/fd/' + fd)])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, close_fds=False)
    return answer(start_response, f"{output.returncode} {output.stdout.strip()} {output.stderr.strip()}")


def square(number):
    return number * number


def multiprocesses(environ, start_response):
    import multiprocessing

    results = []
    for method in ["fork", "spawn"]:
        queue = multiprocessing.get_context(method).SimpleQueue()
        process = multiprocessing.get_context(method).Process(target=queue.put, args=(49,))
        process.start()
        results.append(f"{method} {queue.get()}")
        process.join()
        results.append(str(process.exitcode))
    return answer(start_response, " ".join(results))


def peek(environ, start_response):
    """What this process may do to another one."""
    other = int(environ["QUERY_STRING"])

    def ending(action):
        try:
            return f"done {action()!r}"[:80]
        except BaseException as error:
            return type(error).__name__

    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def trace():
        if libc.ptrace(16, other, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def connect():
        import socket

        for line in open(f"/proc/{other}/net/unix").read().splitlines():
            path = line.split()[-1]
            # Those of other servers are none of our business.
            if path.startswith(os.path.dirname(os.path.dirname(__file__))):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    return path
        raise FileNotFoundError

    return answer(
        start_response,
        f"signal\t{ending(lambda: os.kill(other, signal.SIGTERM))}",
        f"trace\t{ending(trace)}",
        f"memory\t{ending(lambda: open(f'/proc/{other}/mem', 'rb').read(1))}",
        f"environment\t{ending(lambda: open(f'/proc/{other}/environ', 'rb').read())}",
        f"descriptors\t{ending(lambda: os.listdir(f'/proc/{other}/fd'))}",
        f"maps\t{ending(lambda: open(f'/proc/{other}/maps').read(1) or 1 / 0)}",
        f"connect\t{ending(connect)}",
    )


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
