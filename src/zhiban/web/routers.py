"""Routes of a module into an application."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Serve the routes of a router as they are.

    FastAPI's own `include_router` reads every endpoint's signature once more at the first request, a tenth of a second
    for ours, so that it could add what none of our modules asks for: a prefix, tags, dependencies.
    """
    app.router.routes.extend(router.routes)
