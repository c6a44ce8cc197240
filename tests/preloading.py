"""What the first tests of a worker would take their time for, done once before the workers are forked."""

from __future__ import annotations

from zhiban.container import load_the_rest
from zhiban.kit.clock import SystemClock
from zhiban.kit.i18n import DEFAULT_ZONE, Texts
from zhiban.web.assets import Assets
from zhiban.web.render import Renderer
from zhiban.web_app import MODULES


def preload() -> None:
    """Load what a process loads after its start, and compile every template."""
    load_the_rest()
    templates = Renderer(MODULES, assets=Assets(), clock=SystemClock())._environment(Texts("zh", DEFAULT_ZONE))
    for name in templates.list_templates(extensions=["html"]):
        templates.get_template(name)
