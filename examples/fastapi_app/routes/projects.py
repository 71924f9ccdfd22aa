"""Projects and their boards."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, HTTPException, status
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from examples.fastapi_app.login import CurrentMember, refuse_other_origins, require_member
from examples.fastapi_app.schemas import Board, Problem, ProjectIn, ProjectOut, ProjectWithNumbers, TaskOut
from examples.fastapi_app.sessions import SessionDep
from examples.tracker import boards
from examples.tracker.models import Project, Task

router = APIRouter(
    prefix="/api/projects",
    tags=["projects"],
    dependencies=[refuse_other_origins, require_member],
    responses={401: {"model": Problem}, 403: {"model": Problem}},
)


@router.get("")
async def list_projects(session: SessionDep) -> list[ProjectWithNumbers]:
    """Return all projects in the order of their names."""
    return [ProjectWithNumbers.of(summary) for summary in await session.run_sync(boards.list_projects)]


@router.post("", status_code=status.HTTP_201_CREATED, responses={409: {"model": Problem}})
async def create_project(form: ProjectIn, session: SessionDep, member: CurrentMember) -> ProjectOut:
    """Create a project, with the user as its lead."""

    def work(session: Session) -> ProjectOut:
        return ProjectOut.model_validate(boards.create_project(session, **form.model_dump(), lead=member))

    try:
        project = await session.run_sync(work)
    except IntegrityError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, "Another project has this key.") from error
    await session.commit()
    return project


@router.get("/{key}", responses={404: {"model": Problem}})
async def show_board(key: str, session: SessionDep) -> Board:
    """Return a project and its tasks by column."""

    def work(session: Session) -> Board:
        project = find_project(session, key)
        return Board(
            project=ProjectOut.model_validate(project),
            columns={
                column: [TaskOut.of(task, project) for task in tasks]
                for column, tasks in boards.board(session, project).items()
            },
        )

    return await session.run_sync(work)


@router.get(
    "/{key}/tasks.ndjson",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}},
        404: {"model": Problem},
    },
)
async def export_tasks(key: str, session: SessionDep) -> StreamingResponse:
    """Stream all tasks of a project, a line of JSON for each."""
    project = await session.run_sync(find_project, key)
    tasks = (
        select(Task)
        .where(Task.project_id == project.id)
        .order_by(Task.number)
        .options(selectinload(Task.assignee), selectinload(Task.labels))
        .execution_options(yield_per=100)
    )

    async def lines() -> AsyncGenerator[str]:
        # The session is open, and the tenant is current, until the last line is sent.
        async for task in await session.stream_scalars(tasks):
            yield TaskOut.of(task, project).model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def find_project(session: Session, key: str) -> Project:
    """Return a project of the session's tenant, or end the request with 404."""
    project = boards.find_project(session, key)
    if project is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such project.")
    return project
