"""The command of Django that serves a project with mod_wsgi-express."""

import argparse
import importlib.util
import os
import sys

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mod_wsgi.express import program
from mod_wsgi.express.options import option_list
from mod_wsgi.express.server import ConfigurationError, arguments, setup_server


class Command(BaseCommand):
    help = "Serves the project with an Apache of its own. The options are those of `mod_wsgi-express start-server`."

    def add_arguments(self, parser):
        for option in option_list:
            _add(parser, option)

    def handle(self, *args, **options):
        self.stdout.write("Successfully ran command.")
        self.stdout.flush()
        module, callable_object = self._application()
        options.update(application_type="module", entry_point=None, callable_object=callable_object)
        options["working_directory"] = os.path.abspath(options["working_directory"] or _base_directory())
        options["python_paths"] = [*(options["python_paths"] or []), *_directories(module, options)]
        options["url_aliases"] = [*self._static_files(options["setup_only"]), *(options["url_aliases"] or [])]
        try:
            setup_server("start-server", [module], options)
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        if not options["setup_only"]:
            program.run(arguments("start-server", [module], options))

    def _application(self):
        setting = settings.WSGI_APPLICATION
        module, _, callable_object = setting.rpartition(".") if isinstance(setting, str) else ("", "", "")
        if not module or not callable_object:
            raise CommandError(
                f"the setting WSGI_APPLICATION, {setting!r}, does not name the application: "
                "set it to 'PROJECT.wsgi.application', say"
            )
        return module, callable_object

    def _static_files(self, later):
        url, root = settings.STATIC_URL or "", settings.STATIC_ROOT
        if "whitenoise.middleware.WhiteNoiseMiddleware" in settings.MIDDLEWARE or not root:
            return []
        if not url.startswith("/") or not url.strip("/"):
            return []
        root = os.path.abspath(root)
        if not later and not os.path.isdir(root):
            self.stderr.write(
                self.style.WARNING(
                    f"STATIC_ROOT, {root}, does not exist, so there are no static files at {url}: "
                    "run `manage.py collectstatic`, then this again"
                )
            )
            return []
        return [(url.rstrip("/"), root)]


def _add(parser, option):
    attributes = {"dest": option.dest, "help": option.help.replace("%", "%%"), "action": option.action}
    if "SUPPRESS" in option.help:
        attributes["help"] = argparse.SUPPRESS
    if option.action != "store_true":
        metavar = option.metavar.split()
        attributes["metavar"] = tuple(metavar) if option.nargs > 1 else metavar[0]
        if option.nargs > 1:
            attributes["nargs"] = option.nargs
    parser.add_argument(option.get_opt_string(), **attributes)


def _base_directory():
    """Returns BASE_DIR, or the directory that the package of the settings is in."""
    base = getattr(settings, "BASE_DIR", None)
    return base or _directory_of(settings.SETTINGS_MODULE) or "."


def _directories(module, options):
    """Returns the directories that the project is imported from, apart from the working directory and the environment."""
    directories = [options.get("pythonpath"), _directory_of(module), _directory_of(settings.SETTINGS_MODULE)]
    found = []
    for directory in filter(None, directories):
        directory = os.path.abspath(directory)
        own = os.path.commonpath([directory, sys.prefix]) == sys.prefix and "site-packages" in directory
        if directory != options["working_directory"] and not own and directory not in found:
            found.append(directory)
    return found


def _directory_of(module):
    """Returns the directory that a module is imported from, without importing it."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or [])
    file = locations[0] if locations else spec.origin
    return file and os.path.dirname(file)
