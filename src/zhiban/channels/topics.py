"""What is published after a commit about connections and inboxes."""

CONFIG = "config"  # a connection or inbox of this workspace was configured anew; its id
ACCOUNT_WAITING = "account_waiting"  # this inbox has something to fetch
DELIVERY_WAITING = "delivery_waiting"  # this connection has a stored delivery to read
TRACKER_DELIVERY_WAITING = "tracker_delivery_waiting"  # likewise, of a tracker
GATEWAY_CALL = "gateway_call"  # somebody wants to call the program of this connection
GATEWAY_ANSWERED = "gateway_answered"  # the call of this id has ended
GATEWAY_PROBE = "gateway_probe"  # another socket wants to be the one of this connection: is yours alive?
