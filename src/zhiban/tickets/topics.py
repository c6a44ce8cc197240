"""What is published after a commit about tickets and trackers."""

TICKET_CHANGED = "ticket_changed"  # the id of a ticket that a screen may show
TRACKER_CALL_WAITING = "tracker_call_waiting"  # this connection has something to write to its tracker
