"""What scripts that others have generated load applications with."""

import os

from mod_wsgi.express import debugging, loading

# Others import these from here.
from mod_wsgi.express.debugging import PostMortemDebugger, RequestRecorder  # noqa: F401


class ApplicationHandler:
    """An application of mod_wsgi-express as the handler of a resource: its URL begins at a mount point."""

    def __init__(
        self,
        entry_point,
        application_type="script",
        callable_object="application",
        mount_point="/",
        debug_mode=False,
        enable_debugger=False,
        debugger_startup=False,
        enable_recorder=False,
        recorder_directory=None,
    ):
        os.environ["MOD_WSGI_EXPRESS"] = "true"
        if application_type == "module":
            self.application, self._changed = loading.module(entry_point, callable_object)
        elif application_type == "paste":
            self.application, self._changed = loading.paste(entry_point)
        elif application_type == "script":
            self.application, self._changed = loading.script(entry_point, callable_object)
        else:
            raise ValueError(f"application_type: '{application_type}' is not one of script, module, paste")
        recorder = recorder_directory if enable_recorder else None
        self.application = debugging.wrap(self.application, enable_debugger, debugger_startup, recorder)
        self.mount_point = mount_point.rstrip("/")

    def reload_required(self, resource):
        return self._changed(resource)

    def handle_request(self, environ, start_response):
        # A trusted proxy may have changed these: mod_wsgi.mount_point is what it said.
        script_name = environ.get("mod_wsgi.script_name", environ.get("SCRIPT_NAME", ""))
        path = script_name + environ.get("mod_wsgi.path_info", environ.get("PATH_INFO", ""))
        if path == self.mount_point or path.startswith(f"{self.mount_point}/"):
            path = path[len(self.mount_point) :]
        environ["SCRIPT_NAME"] = environ.get("mod_wsgi.mount_point") or self.mount_point
        environ["PATH_INFO"] = path
        return self.application(environ, start_response)

    __call__ = handle_request


class ResourceHandler:
    """Handles files by scripts: `resources` has those by the extensions of the files."""

    def __init__(self, resources):
        self._resources = loading.Resources(resources)

    def resource_extension(self, resource):
        return self._resources.extension(resource)

    def reload_required(self, resource):
        return self._resources.reload_required(resource)

    def handle_request(self, environ, start_response):
        return self._resources.handle_request(environ, start_response)

    __call__ = handle_request
