"""Requests that the server's own OpenAPI document allows, and ones that it forbids, made up by schemathesis."""

import io

import numpy as np
import pytest
from PIL import Image

schemathesis = pytest.importorskip("schemathesis", reason="no fuzzing: schemathesis is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

OPERATIONS = {
    "GET /api/run",
    "GET /api/examples",
    "GET /api/examples/{number}",
    "POST /api/predict",
    "GET /healthz",
    "GET /metrics",
}


def takes_something(label):
    return "{" in label or "POST" in label


def picture():
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


for media_type in ("application/octet-stream", "image/*"):
    schemathesis.openapi.media_type(media_type, st.just(picture()) | st.binary(max_size=2000))


@pytest.fixture(scope="module")
def operations(served):
    document = schemathesis.openapi.from_url(f"{served.url}api/openapi.json")
    found = [result.ok() for result in document.get_all_operations()]
    return {operation.label: operation for operation in found}


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        (label, mode)
        for label in sorted(OPERATIONS)
        for mode in GenerationMode
        if takes_something(label) or mode is GenerationMode.POSITIVE
    ],
)
def test_the_server_does_what_its_document_says(operations, label, mode):
    assert set(operations) == OPERATIONS
    strategy = operations[label].as_strategy(generation_mode=mode)
    num_examples = 30 if takes_something(label) else 2

    @given(case=strategy)
    @settings(
        max_examples=num_examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def check(case):
        # Bytes that are no picture fit the document, which cannot say more than "binary"; they are refused with 415.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
