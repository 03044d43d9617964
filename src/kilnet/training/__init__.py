"""Training: the loop, what it stops on, and the folder that keeps it."""
