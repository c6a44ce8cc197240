"""What is published after a commit about conversations; each topic carries ids of conversations, or says otherwise."""

CONVERSATION_CHANGED = "conversation_changed"  # something that a screen shows
ASSIGNMENT_DUE = "assignment_due"  # agents may have room, or something waits for one; carries no id but 0
DRAFT_CHANGED = "draft_changed"  # an agent types there, or has stopped to
VIEWERS_CHANGED = "viewers_changed"  # an agent opened it, or left it
CONVERSATION_WAITING = "conversation_waiting"  # something waits to be answered or sent
