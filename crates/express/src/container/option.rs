//! The option `--container`.

use crate::spec::{Spec, section};

section! {
    CONTAINERS {
        title: "Containers",
        about: "[containers.md](containers.md) has images and manifests.",
        example: "mod_wsgi-express start-server app.wsgi --container --access-log",
    }

    CONTAINER = Spec::flag("--container",
        "Has the defaults of a server in a container: logs to the terminal, port 8080, health checks, and a size that follows the container's limits.")
        .note("Health checks are below `/-`, and after the first `SIGTERM` they fail for 5 seconds before the server ends gracefully. Each of these defaults gives way to \
               its own option (`--log-directory`, `--port`, `--health-path`, `--drain-delay`, `--processes`, `--threads`). There is a process for each \
               processor that the control group may use, if there are 192 MB of memory for each; with few tasks (`pids.max`), fewer processes and \
               threads; and one process if processors are not limited. The banner says what was chosen, and the seconds that the container needs to end \
               (`docker stop --timeout`, `terminationGracePeriodSeconds`). As the container's first process, \
               `mod_wsgi-express` stays: it passes signals on to Apache, collects processes that nobody waits for, and ends with Apache's status.");
}
