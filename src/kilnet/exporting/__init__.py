"""A run as one file for another runtime, verified."""
