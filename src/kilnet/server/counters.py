"""Metrics for Prometheus: requests, their duration, pictures and batches, in its text format 0.0.4."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class RequestCounters:
    """Counts requests by path and status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Add a request; `path` is the path of the route, so that visitors cannot invent labels."""
        self._requests[path, status] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self, totals: Mapping[str, tuple[str, int]], gauges: Mapping[str, tuple[str, int]]) -> str:
        """Return everything in Prometheus' text format.

        Args:
            totals, gauges: further metrics by name, each with its meaning and its value.
        """
        lines = _head("kilnet_requests_total", "counter", "HTTP requests by path and status.")
        for (path, status), number in sorted(self._requests.items()):
            lines.append(f'kilnet_requests_total{{path="{path}",status="{status}"}} {number}')
        lines += _head("kilnet_request_seconds", "histogram", "Time from a request's head to its answer.")
        below = 0
        for bound, number in zip((*map(str, _BUCKETS), "+Inf"), self._buckets, strict=True):
            below += number
            lines.append(f'kilnet_request_seconds_bucket{{le="{bound}"}} {below}')
        lines += [f"kilnet_request_seconds_sum {self._seconds:.6f}", f"kilnet_request_seconds_count {below}"]
        for kind, metrics in (("counter", totals), ("gauge", gauges)):
            for name, (meaning, value) in metrics.items():
                lines += [*_head(name, kind, meaning), f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
