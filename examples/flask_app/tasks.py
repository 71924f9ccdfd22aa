"""Pages of a task: its details, and forms that create, change, move and comment it."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from examples.flask_app.extensions import kit
from examples.flask_app.forms import CommentForm, TaskForm
from examples.flask_app.login import current_member, require_member
from examples.flask_app.projects import find_project
from examples.flask_app.words import in_words
from examples.tracker import boards
from examples.tracker.models import Member, Priority, Task, TaskStatus

pages = Blueprint("tasks", __name__, url_prefix="/projects/<key>/tasks")
pages.before_request(require_member)


@pages.route("/new", methods=["GET", "POST"])
def create(key: str) -> ResponseReturnValue:
    """Create a task, with the user as its reporter."""
    project = find_project(key)
    form = TaskForm(status=_wanted_column(), priority=Priority.NORMAL)
    form.offer(_members())
    if form.validate_on_submit():
        task = boards.create_task(
            kit.session,
            project,
            title=form.title.data,
            description=form.description.data,
            reporter=current_member(),
            assignee=_chosen_assignee(form),
            status=TaskStatus(form.status.data),
            priority=Priority(form.priority.data),
            due_on=form.due_on.data,
        )
        kit.session.commit()
        flash(f"{key}-{task.number} was created.")
        return redirect(url_for("projects.board", key=key))
    return render_template("task_form.html", form=form, project=project, task=None)


@pages.get("/<int:number>")
def show(key: str, number: int) -> ResponseReturnValue:
    """Show a task with its details."""
    return render_template("task.html", task=_find_task(key, number), form=CommentForm())


@pages.route("/<int:number>/edit", methods=["GET", "POST"])
def edit(key: str, number: int) -> ResponseReturnValue:
    """Change a task."""
    task = _find_task(key, number)
    form = TaskForm(
        title=task.title,
        description=task.description,
        status=task.status,
        priority=task.priority,
        assignee=task.assignee_id,
        due_on=task.due_on,
    )
    form.offer(_members())
    if form.validate_on_submit():
        task.title = form.title.data
        task.description = form.description.data
        task.priority = Priority(form.priority.data)
        task.assignee = _chosen_assignee(form)
        task.due_on = form.due_on.data
        boards.move_task(kit.session, task, TaskStatus(form.status.data))
        kit.session.commit()
        flash("Your changes were saved.")
        return redirect(url_for("tasks.show", key=key, number=number))
    return render_template("task_form.html", form=form, project=task.project, task=task)


@pages.post("/<int:number>/move")
def move(key: str, number: int) -> ResponseReturnValue:
    """Move a task to another column, and redirect to the previous page."""
    task = _find_task(key, number)
    try:
        status = TaskStatus(request.form.get("status", ""))
    except ValueError:
        abort(400, "There is no such column.")
    boards.move_task(kit.session, task, status)
    kit.session.commit()
    flash(f"{key}-{number} is now in “{in_words(status)}”.")
    if request.form.get("stay"):
        return redirect(url_for("tasks.show", key=key, number=number))
    return redirect(url_for("projects.board", key=key))


@pages.post("/<int:number>/comments")
def comment(key: str, number: int) -> ResponseReturnValue:
    """Add a comment to a task."""
    task = _find_task(key, number)
    form = CommentForm()
    if form.validate_on_submit():
        boards.add_comment(kit.session, task, current_member(), form.body.data)
        kit.session.commit()
        return redirect(url_for("tasks.show", key=key, number=number, _anchor="comments"))
    return render_template("task.html", task=task, form=form), 422


def _find_task(key: str, number: int) -> Task:
    return boards.find_task(kit.session, key, number) or abort(404)


def _members() -> list[Member]:
    return list(kit.session.scalars(select(Member).order_by(Member.display_name)))


def _chosen_assignee(form: TaskForm) -> Member | None:
    user_id = form.assignee.data
    return None if user_id is None else kit.session.get_one(Member, user_id)


def _wanted_column() -> str:
    """Return the column whose "add" link was followed."""
    wanted = request.args.get("status", "")
    return wanted if wanted in set(TaskStatus) else TaskStatus.TODO
