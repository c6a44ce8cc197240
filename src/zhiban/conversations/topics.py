"""What is published after a commit about conversations; each topic carries ids of conversations."""

CONVERSATION_CHANGED = "conversation_changed"  # something that a screen shows
CONVERSATION_WAITING = "conversation_waiting"  # something waits to be answered or sent
