def start():
    import sys
    if sys.path and not sys.path[0]:
        del sys.path[0]
    hosts, control, group = sys.argv[1:4]
    sys.argv[:] = ['mod_wsgi']
    from importlib import machinery, util
    path = hosts + '/mod_wsgi_host' + machinery.EXTENSION_SUFFIXES[0]
    try:
        loader = machinery.ExtensionFileLoader('mod_wsgi_host', path)
        spec = util.spec_from_file_location('mod_wsgi_host', path, loader=loader)
        host = util.module_from_spec(spec)
        loader.exec_module(host)
    except ImportError as error:
        import datetime
        import os
        time = datetime.datetime.now().strftime('%a %b %d %H:%M:%S.%f %Y')
        version = '.'.join(map(str, sys.version_info[:3]))
        found = 'can not be loaded (%s)' % error if os.path.exists(path) else 'does not exist, or can not be read'
        sys.stderr.write(
            '[%s] [wsgi:crit] [pid %d] WSGI0036: the host for Python %s, %s, %s. Build and install it with '
            "'make host PYTHON=%s', or name another Python with python-home= or python=. [process group '%s']\n"
            % (time, os.getpid(), version, path, found, sys.executable, group))
        sys.exit(1)
    sys.modules['mod_wsgi_host'] = host
    host.serve(int(control))


start()
