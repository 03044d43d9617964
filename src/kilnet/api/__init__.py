"""The public verbs. The command line parses, calls these and prints."""
