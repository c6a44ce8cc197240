"""Rules: what happens by itself when something else has happened, or when time has passed."""
