def start():
    import sys
    if sys.path and not sys.path[0]:
        del sys.path[0]
    hosts, control, group = sys.argv[1:4]
    given = dict(reversed(entry.split(':', 1)) for entry in sys.argv[4:])
    sys.argv[:] = ['mod_wsgi']
    import os
    from importlib import machinery, util
    name = 'mod_wsgi_host' + machinery.EXTENSION_SUFFIXES[0]
    path = hosts + '/' + name
    # What the server has opened, whatever is there now; by its own name as long as that leads to it.
    if name in given:
        try:
            same = os.path.samestat(os.stat(path), os.fstat(int(given[name])))
        except OSError:
            same = False
        opened = '/proc/self/fd/' + given[name]
        if not same and os.path.exists(opened):
            path = opened
    try:
        if given and name not in given:
            raise ImportError('the server has not found it, of its own build, when it read its configuration: reload the '
                              'server, or stop and start it after an update')
        loader = machinery.ExtensionFileLoader('mod_wsgi_host', path)
        spec = util.spec_from_file_location('mod_wsgi_host', path, loader=loader)
        host = util.module_from_spec(spec)
        loader.exec_module(host)
        for number in given.values():
            os.close(int(number))
    except ImportError as error:
        import datetime
        time = datetime.datetime.now().strftime('%a %b %d %H:%M:%S.%f %Y')
        version = '.'.join(map(str, sys.version_info[:3]))
        found = 'cannot be loaded (%s)' % error if os.path.exists(path) else 'does not exist, or cannot be read'
        sys.stderr.write(
            '[%s] [wsgi:crit] [pid %d] WSGI0036: the host for Python %s, %s, %s. Build and install it with '
            "'make host PYTHON=%s', or name another Python with python-home= or python=. [process group '%s']\n"
            % (time, os.getpid(), version, path, found, sys.executable, group))
        sys.exit(1)
    sys.modules['mod_wsgi_host'] = host
    host.serve(int(control))


start()
