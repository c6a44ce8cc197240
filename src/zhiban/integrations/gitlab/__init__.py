"""GitLab as a tracker, at gitlab.com or self-managed, reached with a token; https://docs.gitlab.com/api/rest/."""
