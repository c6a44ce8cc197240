"""Connections to vendors, their inboxes, and how their webhooks are received."""
