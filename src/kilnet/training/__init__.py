"""Training: the loop, when it stops, and the folder that keeps it."""
