"""Pages of members and activities."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from examples.flask_app.extensions import kit
from examples.flask_app.forms import MemberForm
from examples.flask_app.login import current_member, may_manage, require_member
from examples.tracker import boards
from examples.tracker.accounts import add_member, find_user, is_member
from examples.tracker.models import Membership, Role
from tenantkit import current_tenant

pages = Blueprint("people", __name__)
pages.before_request(require_member)


@pages.route("/members", methods=["GET", "POST"])
def members() -> ResponseReturnValue:
    """Show the members; a user who may manage them adds others, who need an account."""
    form = MemberForm()
    if form.validate_on_submit():
        if not may_manage():
            abort(403, "Only owners and administrators decide who is a member.")
        user = find_user(kit.session, form.email.data)
        if user is None:
            form.email.errors.append("Nobody has an account with this address. Please ask them to sign up first.")
        elif is_member(kit.session, user.id, current_tenant()):
            form.email.errors.append(f"{user.name} is a member already.")
        else:
            member = add_member(kit.session, user)
            kit.session.commit()
            flash(f"{member.display_name} is now a member.")
            return redirect(url_for("people.members"))
    memberships = kit.session.scalars(select(Membership).where(Membership.tenant_id == current_tenant().id))
    return render_template(
        "members.html",
        workloads=boards.list_members(kit.session),
        roles={membership.user_id: membership.role for membership in memberships},
        form=form if may_manage() else None,
    )


@pages.post("/members/<int:user_id>/remove")
def remove(user_id: int) -> ResponseReturnValue:
    """End a membership and, from the next request on, the login; the member's work is kept."""
    if not may_manage():
        abort(403, "Only owners and administrators decide who is a member.")
    membership = kit.session.get(Membership, (user_id, current_tenant().id))
    if membership is None:
        abort(404)
    if user_id == current_member().user_id or membership.role is Role.OWNER:
        abort(403, "Owners cannot be removed, and nobody can remove themselves.")
    kit.session.delete(membership)
    kit.session.commit()
    flash("The member was removed.")
    return redirect(url_for("people.members"))


@pages.get("/activity")
def activity() -> ResponseReturnValue:
    """Show the last activities."""
    return render_template("activity.html", activities=boards.recent_activity(kit.session, limit=50))
