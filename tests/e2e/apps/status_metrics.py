"""Reads texts of metrics from the input with the parser of prometheus_client, and prints their samples for tests.

The texts, and their samples, are separated by NUL. A sample is a line of its name, its labels as name=value in their order, and its value,
separated by tabs. What is not valid, ends this with an error.
"""

import math
import sys

from prometheus_client.parser import text_string_to_metric_families as parse


def check(family):
    """Checks what the parser leaves to others."""
    if family.type == "counter":
        names = {family.name + "_total"}
    elif family.type == "histogram":
        names = {family.name + suffix for suffix in ("_bucket", "_count", "_sum")}
        check_buckets(family)
    else:
        names = {family.name}
    for sample in family.samples:
        assert sample.name in names, sample
    keys = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
    assert len(keys) == len(set(keys)), f"{family.name} has a sample twice"
    assert family.documentation, f"{family.name} is not explained"


def check_buckets(family):
    series = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        buckets, counts = series.setdefault(tuple(labels.items()), ([], []))
        if bound is not None:
            buckets.append((float(bound), sample.value))
        elif sample.name.endswith("_count"):
            counts.append(sample.value)
    for labels, (buckets, counts) in series.items():
        bounds = [bound for bound, _ in buckets]
        values = [value for _, value in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, (family.name, labels)
        assert values == sorted(values) and counts == values[-1:], (family.name, labels)


def read(text):
    families = list(parse(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a metric is there twice"
    for family in families:
        check(family)
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            yield f"{sample.name}\t{labels}\t{sample.value}\n"


texts = sys.stdin.read().split("\0")
sys.stdout.write("\0".join("".join(read(text)) for text in texts))
