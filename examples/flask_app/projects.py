"""Pages of projects: the list, the board, and the form for a new one."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import IntegrityError

from examples.flask_app.extensions import kit
from examples.flask_app.forms import ProjectForm
from examples.flask_app.login import current_member, require_member
from examples.tracker import boards
from examples.tracker.models import Project

pages = Blueprint("projects", __name__)
pages.before_request(require_member)


@pages.get("/projects")
def index() -> ResponseReturnValue:
    """List all projects, and the user's open tasks."""
    return render_template(
        "projects.html",
        projects=boards.list_projects(kit.session),
        own_tasks=boards.open_tasks_of(kit.session, current_member().user_id)[:8],
    )


@pages.route("/projects/new", methods=["GET", "POST"])
def create() -> ResponseReturnValue:
    """Create a project, with the user as its lead."""
    form = ProjectForm()
    if form.validate_on_submit():
        try:
            project = boards.create_project(
                kit.session,
                key=form.key.data,
                name=form.name.data,
                description=form.description.data,
                lead=current_member(),
            )
            kit.session.commit()
        except IntegrityError:
            kit.session.rollback()
            form.key.errors.append("Another project has this key.")
        else:
            flash(f"{project.name} was created.")
            return redirect(url_for("projects.board", key=project.key))
    return render_template("project_form.html", form=form)


@pages.get("/projects/<key>")
def board(key: str) -> ResponseReturnValue:
    """Show the tasks of a project in columns."""
    project = find_project(key)
    return render_template("board.html", project=project, columns=boards.board(kit.session, project))


@pages.get("/search")
def search() -> ResponseReturnValue:
    """Show the tasks that match some words."""
    words = request.args.get("words", "").strip()
    return render_template("search.html", words=words, tasks=boards.search_tasks(kit.session, words) if words else [])


def find_project(key: str) -> Project:
    """Return a project of the current tenant, or end the request with 404."""
    return boards.find_project(kit.session, key) or abort(404)
