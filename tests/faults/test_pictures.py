"""Mutated pictures and bombs: decoded or refused, in 5 s of the processor and 500 MB beyond the pixels at most."""

import json

import pytest

from odd_pictures import bombs

SECONDS, MEGABYTES = 5.0, 500.0
CHUNK = 200


@pytest.fixture(scope="module")
def warm(parent):
    """The parent has the pictures that are mutated, and the decoder."""
    parent.load("mutations:corpus")
    parent.call("mutations:decode_mutated", 0, 0, 1)
    return parent


def judge(campaign, case, ending):
    """Look at the lines of `mutations.measured`; returns how many pictures were begun."""
    lines = [json.loads(line) for line in ending.out.splitlines()]
    measured = [line for line in lines if "name" in line]
    begun = [line["begun"] for line in lines if "begun" in line]
    for line in measured:
        campaign.largest("seconds of the processor", line["seconds"])
        campaign.largest("MB beyond the pixels", line["megabytes"])
        if line["end"] not in ("decoded", "refused"):
            campaign.fail("traceback", line["name"], line["end"])
        if line["seconds"] > SECONDS or line["megabytes"] > MEGABYTES:
            campaign.fail("over limit", line["name"], f"{line['seconds']:.1f} s, {line['megabytes']:.0f} MB")
    if ending.code != 0 or ending.hung or len(begun) != len(measured):
        campaign.fail("over limit" if ending.hung else "lost", begun[-1] if begun else case, ending.told)
    campaign.tried("pictures", len(begun))
    return len(begun)


def test_mutated_pictures(campaign, warm):
    number, count = 0, campaign.size(300, 2000, 10_000)
    while number < count:
        case = f"mutated {number} to {number + CHUNK - 1}"
        ending = warm.call(
            "mutations:decode_mutated", campaign.seed, number, min(CHUNK, count - number), timeout=120
        )
        number += max(1, judge(campaign, case, ending))


def test_bombs(campaign, warm, tmp_path):
    # The short form leaves those that are slow to make and to decode to the others.
    for name, content in campaign.named(campaign.some(bombs().items(), 4, 25)):
        (tmp_path / name).write_bytes(content)
        ending = warm.call("mutations:decode_file", tmp_path / name, timeout=60)
        judge(campaign, name, ending)
        (tmp_path / name).unlink()
