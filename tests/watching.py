"""The metrics of a server, as a test reads them."""

import json

import httpx
from prometheus_client.parser import text_string_to_metric_families
from running import Glmserve

Samples = dict[tuple[str, ...], float]
"""By the sample's name and the values of its labels, those sorted by their names."""


def url_of(server: Glmserve) -> str:
    """Where the metrics are."""
    return str(json.loads(server.ready_file.read_text())["metrics"])


def samples(server: Glmserve) -> Samples:
    """All numbers at present."""
    answer = httpx.get(url_of(server), timeout=30)
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def until(server: Glmserve, key: tuple[str, ...], value: float) -> None:
    """Looks until a number has a value."""
    while samples(server).get(key) != value:
        pass
