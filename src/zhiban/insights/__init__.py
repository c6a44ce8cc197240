"""What reports count: facts of the event log, kept as sums by quarter of an hour, and read back."""
