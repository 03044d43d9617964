"""The public functions, one file per verb. The command line parses, calls these and prints."""
