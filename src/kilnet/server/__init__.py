"""The local page and the JSON API of one run."""
