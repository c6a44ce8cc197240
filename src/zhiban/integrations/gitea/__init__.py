"""Gitea, and Forgejo, which speaks the same, as a tracker, reached with a token; https://docs.gitea.com/api/."""
