"""Prints what a collector of telemetry shows, a fact a line."""

import json
import sys
import urllib.request

with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api/state", timeout=20) as response:
    state = json.load(response)

print("decode_errors", state["decode_errors"])
print("drops", sum(process["drops"] for process in state["processes"]))
groups = {}
for process in state["processes"]:
    name = process["process_group"] or "embedded"
    group = groups.setdefault(name, {"requests": 0, "phases": set(), "gc": 0, "collections": 0})
    for sample in process["samples"]:
        fields = sample["fields"]
        group["requests"] += fields["request_count"]
        if fields["request_count"]:
            group["phases"] |= {key for key in fields if key.endswith("_time_max")}
    group["gc"] += len(process["gc_events"])
    for snapshots in process["gc_snapshots"].values():
        group["collections"] += snapshots[-1]["fields"]["gc_collections2"]
    print("parent", process["process_parent_pid"])
for name, group in groups.items():
    print("requests", name, group["requests"])
    print("phases", name, *sorted(key.removesuffix("_time_max") for key in group["phases"]))
    print("collected", name, group["gc"] > 0 and group["collections"] > 0)
for slow in state["slow_requests"]:
    entry = slow["entry"]
    print("slow", entry["state"], entry["path_info"], entry["user_agent"])
for event in state["lifecycle_events"]:
    print("event", event["process_group"] or "embedded", event["kind"], event["shutdown_reason"])
