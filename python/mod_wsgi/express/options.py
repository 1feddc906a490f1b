"""The options of mod_wsgi-express, for programs that offer them, too."""

import optparse

from mod_wsgi.express.program import list_options

# The attributes that are not called like their options.
_DESTINATIONS = {
    "--ssl-port": "https_port",
    "--ssl-verify-client": "ssl_verify_client_urls",
    "--server-alias": "server_aliases",
    "--url-alias": "url_aliases",
    "--error-document": "error_documents",
    "--proxy-mount-point": "proxy_mount_points",
    "--proxy-url-alias": "proxy_mount_points",
    "--proxy-virtual-host": "proxy_virtual_hosts",
    "--trust-proxy-header": "trusted_proxy_headers",
    "--trust-proxy": "trusted_proxies",
    "--include-file": "include_files",
    "--setenv": "setenv_variables",
    "--passenv": "passenv_variables",
    "--server-mpm": "server_mpm_variables",
    "--python-path": "python_paths",
    "--add-handler": "handler_scripts",
    "--service-script": "service_scripts",
    "--service-user": "service_users",
    "--service-group": "service_groups",
    "--service-log-file": "service_log_files",
}


def _option(name, kind, arguments, marks, text):
    attributes = {
        "dest": _DESTINATIONS.get(name, name[2:].replace("-", "_")),
        "help": optparse.SUPPRESS_HELP if "hidden" in marks else text,
    }
    if kind == "flag":
        return optparse.Option(name, action="store_true", default=False, **attributes)
    return optparse.Option(
        name,
        action="append" if "repeated" in marks else "store",
        type=kind,
        nargs=len(arguments),
        metavar=" ".join(arguments),
        **attributes,
    )


option_list = [_option(*each) for each in list_options()]


def command_line(options):
    """Returns the command line for a dictionary of the options' values."""
    words = []
    done = set()
    for option in option_list:
        value = options.get(option.dest)
        if option.dest in done or value is None or value is False:
            continue
        # A hidden name of the same option follows.
        done.add(option.dest)
        if option.action == "store_true":
            words.append(option.get_opt_string())
            continue
        for each in value if option.action == "append" else [value]:
            each = each if option.nargs > 1 else [each]
            words.extend([option.get_opt_string(), *map(str, each)])
    return words
