"""Searching for the best configuration: honest, resumable, and cheaper than training every one to its end."""
