"""Members, and what happened."""

from __future__ import annotations

from fastapi import APIRouter

from examples.fastapi_app.login import require_member
from examples.fastapi_app.schemas import ActivityOut, Problem, Workload
from examples.fastapi_app.sessions import SessionDep
from examples.tracker import boards

router = APIRouter(
    prefix="/api",
    tags=["people"],
    dependencies=[require_member],
    responses={401: {"model": Problem}, 403: {"model": Problem}},
)


@router.get("/members")
async def list_members(session: SessionDep) -> list[Workload]:
    """Return who is here, with what they have to do and the hours they spent."""
    return [Workload.model_validate(workload) for workload in await session.run_sync(boards.list_members)]


@router.get("/activity")
async def recent_activity(session: SessionDep) -> list[ActivityOut]:
    """Return what happened last."""
    return [ActivityOut.of(activity) for activity in await session.run_sync(boards.recent_activity)]
