"""A run as one verified file for another runtime."""
