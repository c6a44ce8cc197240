"""Gitee on the wire, as strict as it is: what it takes, Gitee takes; what Gitee refuses, it refuses."""

from zhiban.testing.gitee.asgi import application
from zhiban.testing.gitee.simulator import GiteeSimulator

__all__ = ["GiteeSimulator", "application"]
