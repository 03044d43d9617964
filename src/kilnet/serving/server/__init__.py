"""A trained network as a web page and a JSON API, for this machine's user and not for the pages they visit."""
