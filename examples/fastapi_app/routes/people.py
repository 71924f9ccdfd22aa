"""Members and activities."""

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
    """Return the members, with their open tasks and hours."""
    return [Workload.model_validate(workload) for workload in await session.run_sync(boards.list_members)]


@router.get("/activity")
async def recent_activity(session: SessionDep) -> list[ActivityOut]:
    """Return the last activities."""
    return [ActivityOut.of(activity) for activity in await session.run_sync(boards.recent_activity)]
