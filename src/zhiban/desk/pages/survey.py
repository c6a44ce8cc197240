"""Where contacts rate us, for whoever has the link: no sign-in, nothing but the question and their own answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from zhiban.conversations import surveys
from zhiban.conversations.survey_links import PATH, SurveyLinks
from zhiban.conversations.surveys import LONGEST_COMMENT, RATING_LABELS, Survey, SurveyClosed
from zhiban.desk.request import DeskSettings
from zhiban.people.auth import auth_of
from zhiban.web.render import viewer_of

# The link itself is the right to answer, so forms may come from wherever a messenger shows the page.
router = APIRouter(include_in_schema=False)

HEADERS = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


def _links(request: Request) -> SurveyLinks:
    settings: DeskSettings = request.app.state.desk
    return settings.surveys


@router.get(PATH + "/{token}")
async def show(request: Request, token: str) -> Response:
    """The question, with what was answered before. Looking changes nothing: messengers look at links, too."""
    auth = auth_of(request)
    now = auth.clock.now()
    workspace_id, survey_id = _links(request).read(token, now=now)
    async with auth.database.page_transaction(workspace_id) as tx:
        survey = await surveys.survey_of(tx, survey_id)
    if survey.closed(now):
        raise SurveyClosed("This survey is closed.")
    return _page(request, survey)


@router.post(PATH + "/{token}")
async def answer(
    request: Request,
    token: str,
    rating: Annotated[int | None, Form(ge=1, le=5)] = None,
    comment: Annotated[str, Form(max_length=LONGEST_COMMENT * 2)] = "",
) -> Response:
    auth = auth_of(request)
    now = auth.clock.now()
    workspace_id, survey_id = _links(request).read(token, now=now)
    async with auth.database.page_transaction(workspace_id) as tx:
        if rating is not None:
            await surveys.rate(tx, survey_id, rating=rating, comment=comment, way="page", now=now)
        survey = await surveys.survey_of(tx, survey_id)
    if rating is None:
        return _page(request, survey, status=422, comment=comment, missing=True)
    return _page(request, survey, thanked=True)


def _page(
    request: Request,
    survey: Survey,
    *,
    status: int = 200,
    comment: str | None = None,
    thanked: bool = False,
    missing: bool = False,
) -> Response:
    shown: dict[str, Any] = {
        "labels": RATING_LABELS,
        "survey": survey,
        "comment": survey.comment if comment is None else comment,
        "thanked": thanked,
        "missing": missing,
        "longest": LONGEST_COMMENT,
    }
    return auth_of(request).renderer.answer("survey.html", viewer_of(request), status=status, headers=HEADERS, **shown)
