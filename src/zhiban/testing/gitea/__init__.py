"""Gitea on the wire, as strict as it is: what it takes, Gitea takes; what Gitea refuses, it refuses."""

from zhiban.testing.gitea.asgi import application
from zhiban.testing.gitea.simulator import GiteaSimulator

__all__ = ["GiteaSimulator", "application"]
