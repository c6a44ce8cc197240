"""Promises: what was said becomes a ticket, with an owner, a state and a day, and the issue that belongs to it."""
