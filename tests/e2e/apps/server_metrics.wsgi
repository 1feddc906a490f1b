"""Shows what the scoreboard says."""

import os
import time

import mod_wsgi


def shape(items):
    return " ".join(f"{key}:{type(value).__name__}" for key, value in items.items())


def running(line):
    """The worker that serves the request of this line ("": any), waited for: in a daemon process it is seen with a delay."""
    deadline = time.time() + 20
    while time.time() < deadline:
        metrics = mod_wsgi.server_metrics()
        for process in metrics["processes"]:
            for worker in process["workers"]:
                if worker["status"] == "W" and (not line or worker["request"] == line):
                    return process, worker
        time.sleep(0.05)
    raise RuntimeError(f"{line} is not in {metrics}")


def overview():
    metrics = mod_wsgi.server_metrics()
    if metrics is None:
        return {"metrics": "None"}
    processes = metrics["processes"]
    workers = [worker for process in processes for worker in process["workers"]]
    now, then = metrics["current_time"], metrics["restart_time"]
    return {
        "metrics": shape(metrics),
        "process": shape(processes[0]),
        "worker": shape(workers[0]),
        "limits": metrics["server_limit"] == len(processes)
        and {len(process["workers"]) for process in processes} == {metrics["thread_limit"]},
        "numbers": [process["process_num"] for process in processes] == list(range(len(processes))),
        "generation": metrics["running_generation"],
        "running": metrics["running_time"] == int(now - then) and then <= now <= time.time() < now + 60,
        "current_time": now,
        "pids": " ".join(str(process["pid"]) for process in processes if process["pid"]),
        "states": "".join(sorted({worker["status"] for worker in workers})),
        "texts": sorted({worker[key] for worker in workers for key in ("client", "request", "vhost")}),
        "empty": min(workers, key=lambda worker: worker["last_used"] + ("_SRWKLDCGI".find(worker["status"]) + 1)),
        "served": sum(worker["access_count"] for worker in workers),
        "own": os.getpid(),
    }


def application(environ, start_response):
    if environ["PATH_INFO"] == "/running":
        line = f"GET {environ['REQUEST_URI']} {environ['SERVER_PROTOCOL']}"
        process, worker = running(line)
        result = {
            "pid": process["pid"],
            "quiescing": process["quiescing"],
            "client": worker["client"],
            "vhost": worker["vhost"],
            "times": worker["stop_time"] <= worker["start_time"] <= worker["last_used"] <= time.time(),
            "age": time.time() - worker["start_time"] < 30,
        }
    elif environ["PATH_INFO"] == "/busy":
        running("")
        result = overview()
    else:
        result = overview()
    body = "\n".join(f"{key}\t{value}" for key, value in result.items()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
