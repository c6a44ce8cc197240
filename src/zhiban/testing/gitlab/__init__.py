"""GitLab on the wire, as strict as it is: what it takes, GitLab takes; what GitLab refuses, it refuses."""

from zhiban.testing.gitlab.asgi import application
from zhiban.testing.gitlab.simulator import GitLabSimulator

__all__ = ["GitLabSimulator", "application"]
