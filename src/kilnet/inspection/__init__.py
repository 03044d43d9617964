"""Looking inside a trained network: functions from a run to arrays."""
