"""What is published after a commit about trackers."""

TRACKER_CALL_WAITING = "tracker_call_waiting"  # this connection has something to write to its tracker
