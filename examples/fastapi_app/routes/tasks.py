"""Tasks and comments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, status
from sqlalchemy.orm import Session

from examples.fastapi_app.login import CurrentMember, refuse_other_origins, require_member
from examples.fastapi_app.routes.projects import find_project
from examples.fastapi_app.schemas import CommentIn, CommentOut, Problem, TaskChanges, TaskDetails, TaskIn, TaskOut
from examples.fastapi_app.sessions import BlockingSessionDep, SessionDep
from examples.tracker import boards
from examples.tracker.models import Member, Task

router = APIRouter(
    prefix="/api",
    tags=["tasks"],
    dependencies=[refuse_other_origins, require_member],
    responses={401: {"model": Problem}, 403: {"model": Problem}},
)


@router.post("/projects/{key}/tasks", status_code=status.HTTP_201_CREATED, responses={404: {"model": Problem}})
async def create_task(key: str, form: TaskIn, session: SessionDep, member: CurrentMember) -> TaskDetails:
    """Create a task, with the user as its reporter."""

    def work(session: Session) -> TaskDetails:
        values = form.model_dump(exclude={"assignee_id"})
        assignee = _find_assignee(session, form.assignee_id)
        task = boards.create_task(session, find_project(session, key), **values, reporter=member, assignee=assignee)
        return TaskDetails.read(task)

    task = await session.run_sync(work)
    await session.commit()
    return task


@router.get("/projects/{key}/tasks/{number}", responses={404: {"model": Problem}})
async def show_task(key: str, number: int, session: SessionDep) -> TaskDetails:
    """Return a task with its details."""
    return TaskDetails.read(await session.run_sync(_find_task, key, number))


@router.patch("/projects/{key}/tasks/{number}", responses={404: {"model": Problem}})
async def change_task(key: str, number: int, changes: TaskChanges, session: SessionDep) -> TaskDetails:
    """Change a task, or move it to another column."""

    def work(session: Session) -> TaskDetails:
        task = _find_task(session, key, number)
        values = changes.model_dump(exclude_unset=True)
        if "assignee_id" in values:
            task.assignee = _find_assignee(session, values.pop("assignee_id"))
        if "status" in values:
            boards.move_task(session, task, values.pop("status"))
        for name, value in values.items():
            setattr(task, name, value)
        session.flush()
        return TaskDetails.read(task)

    task = await session.run_sync(work)
    await session.commit()
    return task


@router.post(
    "/projects/{key}/tasks/{number}/comments",
    status_code=status.HTTP_201_CREATED,
    responses={404: {"model": Problem}},
)
async def comment(key: str, number: int, form: CommentIn, session: SessionDep, member: CurrentMember) -> CommentOut:
    """Add a comment to a task."""

    def work(session: Session) -> CommentOut:
        task = _find_task(session, key, number)
        return CommentOut.model_validate(boards.add_comment(session, task, member, form.body))

    said = await session.run_sync(work)
    await session.commit()
    return said


@router.get("/tasks")
def search_tasks(
    words: Annotated[str, Query(min_length=1, max_length=200, examples=["typeface"])], session: BlockingSessionDep
) -> list[TaskOut]:
    """Return the tasks that match some words, the best match first.

    This is a plain function, run in a thread: the tenant is current there, too.
    """
    return [TaskOut.of(task, task.project) for task in boards.search_tasks(session, words)]


def _find_task(session: Session, key: str, number: int) -> Task:
    task = boards.find_task(session, key, number)
    if task is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such task.")
    return task


def _find_assignee(session: Session, user_id: int | None) -> Member | None:
    member = None if user_id is None else session.get(Member, user_id)
    if member is None and user_id is not None:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "The assignee is not a member of this tenant.")
    return member
