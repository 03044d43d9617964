"""Looking inside a trained network: functions that take a run and return arrays."""
