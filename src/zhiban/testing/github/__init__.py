"""GitHub on the wire, as strict as it is: what it takes, GitHub takes; what GitHub refuses, it refuses."""

from zhiban.testing.github.asgi import application
from zhiban.testing.github.simulator import GitHubSimulator

__all__ = ["GitHubSimulator", "application"]
