#!/usr/bin/python3 -IS
"""Stands in for a daemon process: speaks the control protocol, and does what the test tells it to.

Each connection through the channel carries one command, a line, and gets one answer. What it does before it is ready
is told by the environment variable BEHAVIOUR.
"""
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

hosts, number, group = sys.argv[3:6]
control = socket.socket(fileno=int(number))
kept = ''


def report(text):
    text = struct.pack('<I', len(text)) + text
    while text:
        text = text[os.write(reports, text):]


# What it says. The first reason is that of a signal.
READY, REPLACE, STOPPING = b'\1\1', b'\2\0', b'\3\0'


def terminated(signal, frame):
    report(STOPPING)
    os._exit(0)


def state(what):
    with open('/proc/self/' + what) as file:
        return file.read().replace('\n', '\t').replace('\0', '\t')


def descriptors():
    # One of them was open for the listing only.
    links = []
    for number in os.listdir('/proc/self/fd'):
        try:
            links.append('%s=%s' % (number, os.readlink('/proc/self/fd/' + number)))
        except OSError:
            pass
    return '\t'.join(sorted(links))


def obey(line):
    global kept
    command, *rest = line.split()
    if command == 'pid':
        return str(os.getpid())
    if command == 'exit':
        os._exit(int(rest[0]))
    if command == 'die':
        os.kill(os.getpid(), int(rest[0]))
    if command == 'replace':
        script = rest[0].encode()
        report(REPLACE + struct.pack('<I', 1) + struct.pack('<I', len(script)) + script + struct.pack('<II', 0, 0))
        return 'asked'
    if command == 'replace-much':
        # As long as a report may be.
        script = struct.pack('<I', 1000) + b'/' * 1000 + struct.pack('<II', 0, 0)
        report(REPLACE + struct.pack('<I', 1000) + script * 1000)
        return 'asked'
    if command == 'forge':
        text = b'x\n[core:alert] [pid 1] forged'
        report(STOPPING[:1] + struct.pack('<I', len(text)) + text)
        return 'sent'
    if command == 'flood':
        flood(report(READY) for _ in iter(int, 1))
    if command == 'dribble':
        # The longest report, byte by byte.
        os.write(reports, struct.pack('<I', 1 << 20))
        flood(os.write(reports, b'x') for _ in iter(int, 1))
    if command == 'import-failed':
        for _ in range(int(rest[0])):
            parts = [b'/w/app.wsgi: \x1b[31mNameError\n', b'Traceback\n' + b'x' * 20000]
            report(b'\4' + b''.join(struct.pack('<I', len(part)) + part for part in parts))
        return 'told'
    if command == 'stuck':
        for number in range(int(rest[0])):
            parts = [b'held for %d seconds: GET /\x1b[31m\n' % number, b'Stack\n' + b'x' * 20000]
            report(b'\5' + struct.pack('<I', 2) + b''.join(struct.pack('<I', len(part)) + part for part in parts))
        return 'told'
    if command == 'nonsense':
        report(b'\377nonsense')
        return 'sent'
    if command == 'close':
        control.close()
        os.close(reports)
        return 'closed'
    if command == 'busy':
        os.pwrite(page, struct.pack('<I', int(rest[0])), 4 * word)
        return 'set'
    if command == 'word':
        return str(word)
    if command == 'orphan':
        # Its parent ends at once; what is left ends with the status with which Apache's children say that nothing works.
        if os.fork() == 0:
            orphan = os.fork()
            if orphan:
                with open(rest[1], 'w') as file:
                    file.write(str(orphan))
                os._exit(0)
            for number in range(3, 64):
                try:
                    os.close(number)
                except OSError:
                    pass
            time.sleep(float(rest[0]))
            os._exit(15)
        os.wait()
        return 'left'
    if command == 'writer':
        # It outlives its parent, and writes to the log once there is a file.
        if os.fork() == 0:
            for number in range(3, 64):
                try:
                    os.close(number)
                except OSError:
                    pass
            end = time.monotonic() + 60
            while not os.path.exists(rest[0]) and time.monotonic() < end:
                time.sleep(0.01)
            os.write(2, b'of the orphan\n')
            os._exit(0)
        return 'left'
    if command == 'orphans':
        # One that makes them without end, until this process has gone.
        parent = os.getpid()
        if os.fork() == 0:
            control.close()
            while os.getppid() == parent:
                if os.fork() == 0:
                    if os.fork() == 0:
                        os._exit(15)
                    os._exit(0)
                os.wait()
            os._exit(0)
        return 'begun'
    if command == 'page':
        return str(sum(struct.unpack('<16I', os.pread(page, 64, 0))))
    if command == 'kept':
        told, kept = kept, ''
        return told or 'nothing'
    if command == 'environment':
        return os.environ.get(rest[0], 'unset')
    if command == 'read':
        return state(rest[0])
    if command == 'where':
        mask = os.umask(0)
        os.umask(mask)
        return '%s %o %d %d %s' % (os.getcwd(), mask, os.getuid(), os.getgid(), sorted(os.getgroups()))
    if command == 'descriptors':
        return descriptors()
    if command == 'tell':
        os.write(2, line[5:].encode().decode('unicode_escape').encode('latin-1'))
        return 'told'
    if command == 'write':
        # Others go on meanwhile.
        threading.Thread(target=write_lines, args=(int(rest[0]), line.split(' ', 2)[2]), daemon=True).start()
        return 'writing'
    if command == 'written':
        return str(threading.active_count() == 1)
    if command == 'last':
        os.write(2, b'last words of %d, without an end' % os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    if command == 'tamper':
        return tamper()
    return 'unknown: ' + line


def flood(sent):
    try:
        for _ in sent:
            pass
    except BrokenPipeError:
        time.sleep(600)


def write_lines(count, text):
    for number in range(count):
        os.write(2, b'%d %s\n' % (number, text.encode()))


def tamper():
    # As an application may that wants its traces, or those of others, out of the log.
    outcome = []
    for attempt in (
        lambda: os.ftruncate(2, 0),
        lambda: os.lseek(2, 0, os.SEEK_SET),
        lambda: fcntl.fcntl(2, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK),
        lambda: fcntl.fcntl(1, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK),
        lambda: os.open('/proc/self/fd/2', os.O_WRONLY | os.O_TRUNC),
    ):
        try:
            attempt()
            outcome.append('done')
        except OSError as error:
            outcome.append(errno.errorcode[error.errno])
    return ' '.join(outcome)


def answer(connection):
    if not connection.recv(1, socket.MSG_PEEK):
        return
    line = connection.makefile().readline()
    connection.sendall((obey(line) + '\n').encode())


start, ancillary, _, _ = control.recvmsg(64, socket.CMSG_LEN(24))
# The identity of the schema follows, which changes with it.
assert start[:1] == b'\1', start[:1]
# The whole of it, the channel, the page, the pipe for reports, that for lines, and the scoreboard if it has been asked for.
fds = struct.unpack('<%di' % (len(ancillary[0][2]) // 4), ancillary[0][2])
with os.fdopen(fds[0], 'rb') as file:
    start = file.read()
channel, page, reports = socket.socket(fileno=fds[1]), fds[2], fds[3]
word = start[9]
behaviour = os.environ.get('BEHAVIOUR', '')
if behaviour == 'hang':
    # As in the import of a module that waits for something.
    time.sleep(600)
if behaviour == 'fail':
    os._exit(9)
if behaviour == 'once':
    # The first one is as any other; those that follow fail.
    try:
        os.close(os.open(os.environ['MARKER'], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os._exit(9)
if behaviour == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif behaviour != 'default':
    signal.signal(signal.SIGTERM, terminated)
if b'/broken.wsgi' in start:
    os._exit(3)
report(READY)
if behaviour == 'ends-itself':
    # As an import does that starts a timer with which it ends its process.
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    signal.signal(signal.SIGALRM, terminated)
serves = False
while True:
    watched = [control] * (control.fileno() >= 0) + [channel] * serves
    for ready in select.select(watched, [], [])[0]:
        if ready is channel:
            _, ancillary, _, _ = channel.recvmsg(16, socket.CMSG_LEN(4))
            if not ancillary:
                report(STOPPING)
                os._exit(0)
            fd, = struct.unpack('<i', ancillary[0][2])
            with socket.socket(fileno=fd) as connection:
                answer(connection)
            continue
        order = control.recv(1 << 16)
        if not order:
            os._exit(0)
        if order[0] == 2:
            serves = True
        if order[0] == 3:
            kept = order[5:].decode()
        if order[0] == 4:
            # What was begun is finished.
            time.sleep(float(os.environ.get('LINGER', '0')))
            os._exit(0)
