"""What a run shows: files, tables on a terminal, and figures."""
