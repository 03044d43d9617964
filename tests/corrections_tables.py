"""Tables of corrections for tests."""

import csv


def write(path, *rows):
    """Write (file, label, verdict, correction) rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "verdict", "correction"), *rows])
    return path
