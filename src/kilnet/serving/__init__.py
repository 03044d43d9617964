"""A trained run put to use: calibrated, asked about pictures, exported."""
