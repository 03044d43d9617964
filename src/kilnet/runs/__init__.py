"""One run as it is used after training: opened once, evaluated once, calibrated, asked."""
