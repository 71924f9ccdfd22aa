"""Pages without a tenant: the landing page, sign-up, login, and the list of a user's tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from flask import Blueprint, abort, current_app, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from examples.flask_app import login as logins
from examples.flask_app.extensions import OPERATOR, kit
from examples.flask_app.forms import LoginForm, SignUpForm
from examples.tracker.accounts import SignUp, SignUpError, authenticate, find_user, is_member, memberships_of, sign_up
from examples.tracker.models import Role, User
from tenantkit import InvalidTenantKeyError, Tenant, TenantExistsError, TenantNotFoundError
from tenantkit.context import current_tenant_or_none
from tenantkit.flask import refuse_unserved, shared_route

pages = shared_route(Blueprint("access", __name__))
pages.before_request(refuse_unserved)


@pages.get("/")
def home() -> ResponseReturnValue:
    """Show the landing page; at a tenant, redirect to its projects."""
    if current_tenant_or_none() is not None:
        return redirect(url_for("projects.index"))
    return render_template("landing.html", account=logins.account())


@pages.route("/sign-up", methods=["GET", "POST"])
def join() -> ResponseReturnValue:
    """Create a tenant, and open it."""
    if current_tenant_or_none() is not None:
        abort(404)
    form = SignUpForm()
    if form.validate_on_submit():
        wanted = SignUp(**{name: value for name, value in form.data.items() if name != "csrf_token"})
        try:
            tenant = sign_up(current_app.extensions[OPERATOR], wanted)
        except SignUpError as error:
            form.form_errors.append(str(error))
        except InvalidTenantKeyError as error:
            form.tenant_key.errors.append(f"This address cannot be used: {error.reason}.")
        except TenantExistsError:
            form.tenant_key.errors.append("This address is taken. Please choose another.")
        else:
            owner = cast("User", find_user(kit.shared_session, wanted.email))  # created by sign_up
            response = logins.enter(tenant, owner)
            flash(f"Welcome to {tenant.name}! It has a sample project.")
            return response
    return render_template("sign_up.html", form=form, domain=current_app.config["TRACKER_DOMAIN"])


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Log in to the tenant of this address, or without one to the list of tenants."""
    tenant = current_tenant_or_none()
    form = LoginForm()
    if form.validate_on_submit():
        user = authenticate(kit.shared_session, form.email.data, form.password.data)
        if user is not None and (tenant is None or is_member(kit.shared_session, user.id, tenant)):
            logins.log_in(user)
            return redirect(url_for("access.tenants" if tenant is None else "projects.index"))
        form.form_errors.append("That e-mail address and password do not open this door.")
    return render_template("login.html", form=form, tenant=tenant)


@pages.post("/logout")
def logout() -> ResponseReturnValue:
    """Log out of this tenant, or of the list of tenants; other logins remain."""
    logins.log_out()
    flash("You are logged out.")
    return redirect(url_for("access.login"))


@pages.get("/tenants")
def tenants() -> ResponseReturnValue:
    """List the user's tenants."""
    user = logins.account()
    if current_tenant_or_none() is not None or user is None:
        return redirect(url_for("access.login"))
    return render_template("tenants.html", account=user, places=list(_places_of(user)))


@pages.post("/tenants/<key>")
def open_tenant(key: str) -> ResponseReturnValue:
    """Log in to one of the user's tenants without a password."""
    user = logins.account()
    if current_tenant_or_none() is not None or user is None:
        return redirect(url_for("access.login"))
    tenant = next((tenant for tenant, _role in _places_of(user) if tenant.key == key), None)
    return logins.enter(tenant, user) if tenant is not None else abort(404)


def _places_of(user: User) -> Iterator[tuple[Tenant, Role]]:
    """Return a user's tenants, without dropped ones, even if another tenant has the key now."""
    for membership in memberships_of(kit.shared_session, user.id):
        with suppress(TenantNotFoundError):
            tenant = kit.tenancy.get(membership.tenant_key)
            if tenant.id == membership.tenant_id:
                yield tenant, membership.role
