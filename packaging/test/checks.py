#!/usr/bin/python3
"""Checks of a package or a wheel in a root file system of its own: see scripts/test-distros.

usage: checks.py STEP...

It runs as root inside of it, in namespaces of its own, with the files below /test: port 80 is its own. Each step is a function of this
file; its doc string is what the report calls it, and what it returns is a fact for the report.
"""

import contextlib
import glob
import gzip
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time

FILES = "/test"
PREFIX = "/usr/lib/mod_wsgi-rs"
SITE = "/etc/apache2/sites-available/test.conf"
VENV = "/srv/venv"
# Seconds that something may take to happen.
LIMIT = 60
VERSION = "%d.%d" % sys.version_info[:2]

APPLICATION = """
import sys
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    text = '%s %d.%d %s %d' % (environ['mod_wsgi.process_group'] or 'embedded', *sys.version_info[:2], environ['REQUEST_METHOD'], len(body))
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(text)))])
    return [text.encode()]
"""

SERVED = """
ServerName localhost
WSGIDaemonProcess daemon processes=2 threads=5 %(home)s
WSGIScriptAlias /embedded /srv/app.wsgi application-group=%%{GLOBAL} process-group=%%{GLOBAL}
WSGIScriptAlias /daemon /srv/app.wsgi application-group=%%{GLOBAL} process-group=daemon
<Directory /srv>
    Require all granted
</Directory>
"""


def run(*command, status=0):
    """Runs a command, and returns what it has printed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    if done.returncode != status:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{log()}")
    return done.stdout


def log():
    with contextlib.suppress(OSError), open("/var/log/apache2/error.log", encoding="utf-8") as lines:
        return "".join(lines.readlines()[-30:])
    return ""


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def fetch(path, method="GET", body=None, port=80):
    """Makes one request; returns its status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def expect(path, wanted, **options):
    got = fetch(path, **options)
    assert got == (200, wanted), f"{path}: {got} instead of {wanted!r}\n{log()}"


def wait_until(what, condition):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {LIMIT} s: {what}\n{log()}")


def answers(port=80):
    try:
        fetch("/", port=port)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def apache():
    """Debian's Apache, started and stopped as its unit does."""
    run("apachectl", "start")
    try:
        wait_until("Apache answers", answers)
        yield
    finally:
        pid = pid_of_apache()
        run("apachectl", "stop")
        wait_until("Apache ends", lambda: not os.path.exists(f"/proc/{pid}"))


def pid_of_apache():
    with open("/run/apache2/apache2.pid", encoding="utf-8") as file:
        return int(file.read())


def site(extra="", home=""):
    """Writes and enables a site with one application in both modes."""
    write("/srv/app.wsgi", APPLICATION)
    write(SITE, SERVED % {"home": home} + extra)
    if os.path.exists("/etc/apache2/sites-enabled/000-default.conf"):
        run("a2dissite", "-q", "000-default")
    run("a2ensite", "-q", "test")


def both_modes(version=VERSION):
    for mode in ["embedded", "daemon"]:
        expect(f"/{mode}", f"{mode} {version} GET 0")
        expect(f"/{mode}", f"{mode} {version} POST 100000", method="POST", body=b"x" * 100_000)


def package():
    return re.search(r"^Version: (.*)", run("dpkg", "-s", "libapache2-mod-wsgi-rs"), re.M)[1]


def loaded():
    """Returns the names of the modules that are enabled for wsgi_module, in the order of loading."""
    return sorted(os.path.basename(path) for path in glob.glob("/etc/apache2/mods-enabled/wsgi*.load"))


def banner():
    """Returns which implementation serves."""
    return "rs" if "mod_wsgi-rs/" in log().rsplit("configured -- resuming", 1)[0].rsplit("\n", 1)[-1] else "other"


def facts():
    """Versions"""
    apache2 = re.search(r"Apache/(\S+)", run("apache2", "-v"))[1]
    libc = re.search(r"(\d+\.\d+)$", run("ldd", "--version").splitlines()[0])[1]
    release = dict(line.rstrip().split("=", 1) for line in open("/etc/os-release", encoding="utf-8") if "=" in line)
    number = open("/etc/debian_version", encoding="utf-8").read().strip()
    name = release["PRETTY_NAME"].strip('"')
    return {"name": f"{name} ({number})", "apache": apache2, "python": "%d.%d.%d" % sys.version_info[:3], "libc": libc}


def not_enabled():
    """A new package changes nothing by itself"""
    assert loaded() == [], loaded()
    run("test", "-e", "/usr/bin/mod_wsgi-express")
    listed = run("/usr/bin/mod_wsgi-express", "module-location").strip()
    assert listed == f"{PREFIX}/lib/mod_wsgi/mod_wsgi.so", listed


def missing_library():
    """Embedded mode without the library of Python says which package is missing; daemon mode serves"""
    if glob.glob(f"/usr/lib/*/libpython{VERSION}.so*"):
        return "the library is there"
    site()
    run("a2enmod", "-q", "wsgi_rs")
    with apache():
        expect("/daemon", f"daemon {VERSION} GET 0")
        assert fetch("/embedded")[0] == 500
        assert f"libpython{VERSION}" in log(), log()
    return None


def serves():
    """Serves in both modes after a2enmod wsgi_rs"""
    site()
    run("a2enmod", "-q", "wsgi_rs")
    run("apachectl", "configtest")
    with apache():
        both_modes()
        assert banner() == "rs", log()


@contextlib.contextmanager
def express(program, *options, port=8000):
    """A server of mod_wsgi-express."""
    write("/srv/app.wsgi", APPLICATION)
    with open("/tmp/express.log", "w", encoding="utf-8") as output:
        server = subprocess.Popen(
            [program, "start-server", *options, "--port", str(port), "--log-to-terminal"], stdout=output, stderr=output, cwd="/srv"
        )
    try:
        wait_until("mod_wsgi-express serves", lambda: server.poll() is not None or answers(port))
        assert server.poll() is None, open("/tmp/express.log", encoding="utf-8").read()
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(LIMIT)


def with_express():
    """mod_wsgi-express serves in both modes"""
    with express("mod_wsgi-express", "/srv/app.wsgi"):
        expect("/", f"localhost:8000 {VERSION} GET 0", port=8000)
    with express("mod_wsgi-express", "/srv/app.wsgi", "--embedded-mode"):
        expect("/", f"embedded {VERSION} GET 0", port=8000)


def with_each_python():
    """Each Python of the distribution serves in both modes"""
    versions = sorted(glob.glob("/usr/bin/python3.*[0-9]"), key=lambda path: int(path.rsplit(".", 1)[1]))
    assert versions
    for path in versions:
        version = path.removeprefix("/usr/bin/python")
        for options, group in [([], "localhost:8000"), (["--embedded-mode"], "embedded")]:
            with express("mod_wsgi-express", "/srv/app.wsgi", "--python", path, *options):
                expect("/", f"{group} {version} GET 0", port=8000)
    return ", ".join(path.removeprefix("/usr/bin/python") for path in versions)


SETTINGS = """
SECRET_KEY = 'x'
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'shop.urls'
"""

URLS = """
import django
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path('<int:number>/', lambda request, number: HttpResponse('%d %s' % (number, django.get_version())))]
"""

WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
application = get_wsgi_application()
"""


def django():
    """Django serves in both modes"""
    for name, text in [("settings", SETTINGS), ("urls", URLS), ("wsgi", WSGI), ("__init__", "")]:
        write(f"/srv/django/shop/{name}.py", text)
    version = run("/usr/bin/python3", "-c", "import django; print(django.get_version())").strip()
    site(
        """
        WSGIDaemonProcess django python-path=/srv/django
        WSGIPythonPath /srv/django
        WSGIScriptAlias /django/embedded /srv/django/shop/wsgi.py application-group=%{GLOBAL} process-group=%{GLOBAL}
        WSGIScriptAlias /django/daemon /srv/django/shop/wsgi.py application-group=%{GLOBAL} process-group=django
        """
    )
    with apache():
        for mode in ["embedded", "daemon"]:
            expect(f"/django/{mode}/42/", f"42 {version}")
    return version


def beside_debian_s():
    """Debian's libapache2-mod-wsgi-py3 installed, purged and installed again in each order; two commands there and back"""
    theirs = glob.glob(f"{FILES}/libapache2-mod-wsgi-py3_*.deb")
    ours = f"{FILES}/package.deb"
    site()

    def serving(which):
        run("apachectl", "configtest")
        with apache():
            both_modes()
            assert banner() == which, (which, loaded(), log())

    def switch(off, on):
        run("a2dismod", "-q", off)
        run("a2enmod", "-q", on)

    # Ours is enabled, then theirs comes: it enables itself and is loaded first.
    run("a2enmod", "-q", "wsgi_rs")
    run("dpkg", "-i", *theirs)
    assert loaded() == ["wsgi.load", "wsgi_rs.load"], loaded()
    serving("other")
    run("a2dismod", "-q", "wsgi")
    serving("rs")
    # Theirs leaves: ours stays.
    run("dpkg", "-P", "libapache2-mod-wsgi-py3")
    assert loaded() == ["wsgi_rs.load"], loaded()
    serving("rs")
    # Theirs first, then ours.
    run("dpkg", "-P", "libapache2-mod-wsgi-rs")
    assert loaded() == [], loaded()
    run("dpkg", "-i", *theirs)
    run("dpkg", "-i", ours)
    assert loaded() == ["wsgi.load"], loaded()
    serving("other")
    refused = run("a2enmod", "wsgi_rs", status=1)
    assert "conflict" in refused, refused
    switch("wsgi", "wsgi_rs")
    assert loaded() == ["wsgi_rs.load"], loaded()
    serving("rs")
    switch("wsgi_rs", "wsgi")
    assert loaded() == ["wsgi.load"], loaded()
    serving("other")
    # Ours leaves: theirs stays.
    switch("wsgi", "wsgi_rs")
    switch("wsgi_rs", "wsgi")
    run("dpkg", "-P", "libapache2-mod-wsgi-rs")
    assert loaded() == ["wsgi.load"], loaded()
    serving("other")
    run("dpkg", "-i", ours)
    run("dpkg", "-P", "libapache2-mod-wsgi-py3")
    assert loaded() == [], loaded()
    run("a2enmod", "-q", "wsgi_rs")
    serving("rs")


def remaining():
    """Returns the files that the package may have to do with."""
    places = ["/etc", "/usr", "/var/lib/apache2", "/opt"]
    found = run("find", *places, "-name", "*wsgi*", "-not", "-name", "*uwsgi*").split()
    # Django's.
    return sorted(path for path in found if not path.startswith("/usr/lib/python3"))


def purge():
    """Purging it leaves nothing; Apache starts without it"""
    # As root, Python writes what it compiles.
    run("/usr/bin/python3", "-c", f"import sys; sys.path[:0] = ['{PREFIX}/lib/mod_wsgi/python-packages']; import mod_wsgi.express")
    run("apt-get", "purge", "--yes", "libapache2-mod-wsgi-rs")
    assert remaining() == [], remaining()
    assert not os.path.exists(PREFIX)
    run("a2dissite", "-q", "test")
    run("apachectl", "configtest")
    run("apt-get", "install", "--yes", "--no-install-recommends", f"{FILES}/package.deb")


class Load:
    """Clients that make requests until they are told to end."""

    def __init__(self, paths, clients=4):
        self.failures, self.served, self.ending = [], 0, False
        self.threads = [
            threading.Thread(target=self.client, args=(paths[number % len(paths)], number), daemon=True) for number in range(clients)
        ]

    def client(self, path, number):
        body = b"x" * 5000 if number % 4 > 1 else None
        while not self.ending:
            try:
                status, text = fetch(path, method="POST" if body else "GET", body=body)
            except (OSError, http.client.HTTPException) as error:
                status, text = 0, repr(error)
            if status == 200:
                self.served += 1
            else:
                self.failures.append((path, status, text[:200]))

    def more(self):
        """Waits until some more requests have been served."""
        before = self.served
        wait_until("more requests are served", lambda: self.served > before + 200)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for thread in self.threads:
            thread.join(LIMIT)


def upgrade():
    """No request is lost while the package is upgraded under load and Apache reloaded; a stop and a start brings the new version"""
    site()
    build = re.compile(rb"\x02mod_wsgi schema ([0-9a-f]{16})")

    def running():
        """Returns the builds of the modules that Apache has loaded, as its kernel shows them."""
        found = set()
        for link in glob.glob(f"/proc/{pid_of_apache()}/map_files/*"):
            with contextlib.suppress(OSError):
                if "/mod_wsgi.so" in os.readlink(link):
                    with open(link, "rb") as file:
                        found.add(build.search(file.read())[1])
        return found

    with open(f"{PREFIX}/lib/mod_wsgi/mod_wsgi.so", "rb") as file:
        old = build.search(file.read())[1]
    before = package()
    with apache():
        with Load(["/embedded", "/daemon"], 8) as load:
            load.more()
            assert running() == {old}, running()
            said = run("dpkg", "-i", f"{FILES}/next.deb")
            assert "stop and start" in said, said
            load.more()
            for _ in range(3):
                run("apachectl", "graceful")
                load.more()
            assert running() == {old}, running()
            assert "stop and start the server" in log(), log()
        assert not load.failures, load.failures[:5]
        served = load.served
    assert package() != before
    with apache():
        both_modes()
        assert len(running()) == 1 and running() != {old}, running()
    # And back: no message if nothing runs.
    said = run("dpkg", "-i", f"{FILES}/package.deb")
    assert "stop and start" not in said, said
    with apache():
        both_modes()
    return f"{served} requests"


SANDBOXED = """
import ctypes, mmap, os, sys
def attempt(action):
    try:
        action()
        return 'works'
    except Exception as error:
        return type(error).__name__
def jit():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def callback():
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)(1) == 2
def namespace():
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise PermissionError(ctypes.get_errno(), 'unshare')
def home():
    open('/home/www/file', 'w').close()
def temporary():
    open('/tmp/file', 'w').close()
def application(environ, start_response):
    seen = [name for name in os.listdir('/proc') if name.isdigit()]
    text = 'executable-memory: %s, ctypes-callback: %s, namespace: %s, home: %s, tmp: %s, others in /proc: %s, meminfo: %s' % (
        attempt(jit), attempt(callback), attempt(namespace), attempt(home), attempt(temporary),
        any(os.stat('/proc/' + name).st_uid == 0 for name in seen), os.path.exists('/proc/meminfo'))
    start_response('200 OK', [])
    return [text.encode()]
"""


def sandbox():
    """Serves in a sandbox like that of a strict systemd unit"""
    write("/srv/sandboxed.wsgi", SANDBOXED)
    site(
        """
        WSGIScriptAlias /sandboxed/embedded /srv/sandboxed.wsgi application-group=%{GLOBAL} process-group=%{GLOBAL}
        WSGIScriptAlias /sandboxed/daemon /srv/sandboxed.wsgi application-group=%{GLOBAL} process-group=daemon
        """
    )
    os.makedirs("/home/www", exist_ok=True)
    os.chmod("/home/www", 0o777)
    server = subprocess.Popen(["/usr/bin/python3", f"{FILES}/sandboxed.py", "apachectl", "-DFOREGROUND"])
    try:
        wait_until("Apache answers", lambda: server.poll() is not None or answers())
        assert server.poll() is None, log()
        both_modes()
        results = {mode: fetch(f"/sandboxed/{mode}") for mode in ["embedded", "daemon"]}
        with Load(["/embedded", "/daemon"]) as load:
            load.more()
            os.kill(pid_of_apache(), signal.SIGUSR1)
            load.more()
        assert not load.failures, load.failures[:5]
    finally:
        with contextlib.suppress(OSError):
            os.kill(pid_of_apache(), signal.SIGTERM)
        server.wait(LIMIT)
    for mode, (status, text) in results.items():
        assert status == 200, (mode, text, log())
        # Otherwise the sandbox is none.
        assert "executable-memory: PermissionError" in text and "home: OSError" in text, text
        assert "namespace: PermissionError" in text or platform.machine() != "x86_64", text
        assert "tmp: works" in text and "others in /proc: False" in text and "meminfo: False" in text, text
    assert results["embedded"] == results["daemon"], results
    return results["daemon"][1]


def wheel():
    """The wheel in a virtual environment: mod_wsgi-express and Debian's Apache serve from it in both modes"""
    run("/usr/bin/python3", "-m", "venv", VENV)
    run(f"{VENV}/bin/pip", "install", "--no-index", "--quiet", *glob.glob(f"{FILES}/*.whl"))
    program = f"{VENV}/bin/mod_wsgi-express"
    with express(program, "/srv/app.wsgi"):
        expect("/", f"localhost:8000 {VERSION} GET 0", port=8000)
    with express(program, "/srv/app.wsgi", "--embedded-mode"):
        expect("/", f"embedded {VERSION} GET 0", port=8000)
    run("a2dismod", "-q", "wsgi_rs")
    site(home=f"python-home={VENV}")
    write("/etc/apache2/mods-available/wsgi_venv.load", run(program, "module-config"))
    run("a2enmod", "-q", "wsgi_venv")
    with apache():
        both_modes()
        assert banner() == "rs", log()
    run("a2dismod", "-q", "wsgi_venv")
    os.remove("/etc/apache2/mods-available/wsgi_venv.load")
    os.remove("/var/lib/apache2/module/disabled_by_admin/wsgi_venv")
    run(f"{VENV}/bin/pip", "uninstall", "--yes", "--quiet", "mod-wsgi-rs")
    left = run("find", VENV, "-name", "*mod_wsgi*")
    assert not left, left
    run("a2enmod", "-q", "wsgi_rs")


def manuals():
    """The manual pages are where man looks, and bash completes options"""
    with gzip.open("/usr/share/man/man1/mod_wsgi-express-start-server.1.gz", "rt", encoding="utf-8") as file:
        assert "mod_wsgi\\-express start\\-server" in file.read()
    asked = """
    . /usr/share/bash-completion/completions/mod_wsgi-express
    COMP_WORDS=(mod_wsgi-express start-server --trust-p) COMP_CWORD=2
    _mod_wsgi_express mod_wsgi-express --trust-p start-server
    echo "${COMPREPLY[*]}"
    """
    offered = run("bash", "-c", asked).split()
    assert offered == ["--trust-proxy", "--trust-proxy-header"], offered


def main():
    results = []
    for name in sys.argv[1:]:
        begin = time.monotonic()
        step = globals()[name]
        print(f"    {name} ...", file=sys.stderr, flush=True)
        try:
            fact = step()
        except AssertionError as error:
            print(f"FAILED: {name}: {error}", file=sys.stderr)
            sys.exit(1)
        seconds = time.monotonic() - begin
        results.append({"step": name, "about": step.__doc__, "fact": fact, "seconds": round(seconds, 1)})
    print(json.dumps(results))


main()
