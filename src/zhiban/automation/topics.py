"""What is published after a commit about rules."""

RULES_CHANGED = "rules_changed"  # a rule of this workspace was made, changed, moved or removed; its id
