"""The forms, and the validation of their fields."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import DateField, EmailField, PasswordField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length, Optional, Regexp

from examples.flask_app.words import in_words
from examples.tracker.accounts import SHORTEST_PASSWORD
from examples.tracker.models import Member, Priority, TaskStatus


class LoginForm(FlaskForm):
    """An e-mail address and a password."""

    email = EmailField("E-mail address", [DataRequired(), Length(max=254)], render_kw={"autocomplete": "username"})
    password = PasswordField(
        "Password", [DataRequired(), Length(max=200)], render_kw={"autocomplete": "current-password"}
    )


class SignUpForm(FlaskForm):
    """A new tenant and its owner."""

    tenant_name = StringField(
        "Name of your company or team", [DataRequired(), Length(max=80)], render_kw={"autocomplete": "organization"}
    )
    tenant_key = StringField(
        "Address",
        [
            DataRequired(),
            Length(max=40),
            Regexp(
                r"^[a-z]([a-z0-9-]*[a-z0-9])?\Z",
                message="Use lower-case letters, digits and hyphens, with a letter first.",
            ),
        ],
        description="A short word for the address of your tracker, such as “acme”.",
        render_kw={"autocapitalize": "none", "spellcheck": "false"},
    )
    name = StringField("Your name", [DataRequired(), Length(max=80)], render_kw={"autocomplete": "name"})
    email = EmailField("E-mail address", [DataRequired(), Length(max=254)], render_kw={"autocomplete": "username"})
    password = PasswordField(
        "Password",
        [DataRequired(), Length(min=SHORTEST_PASSWORD, max=200)],
        description=f"{SHORTEST_PASSWORD} or more characters. If you have an account already, its password.",
        render_kw={"autocomplete": "new-password"},
    )


class ProjectForm(FlaskForm):
    """A new project."""

    name = StringField("Name", [DataRequired(), Length(max=80)])
    key = StringField(
        "Key",
        [DataRequired(), Regexp(r"^[A-Z][A-Z0-9]{1,7}\Z", message="Use 2 to 8 capital letters and digits.")],
        description="Tasks are called by it: WEB-1, WEB-2 and so on.",
        filters=[lambda value: value and value.strip().upper()],
        render_kw={"autocapitalize": "characters", "spellcheck": "false"},
    )
    description = TextAreaField("Description", [Length(max=2000)], render_kw={"rows": 4})


class TaskForm(FlaskForm):
    """A task, new or changed."""

    title = StringField("Title", [DataRequired(), Length(max=200)])
    description = TextAreaField("Description", [Length(max=20_000)], render_kw={"rows": 7})
    status = SelectField("Column", choices=[SelectChoice(status, in_words(status)) for status in TaskStatus])
    priority = SelectField("Priority", choices=[SelectChoice(priority, in_words(priority)) for priority in Priority])
    assignee = SelectField("Assignee", coerce=lambda value: int(value) if value else None)
    due_on = DateField("Due", [Optional()])

    def offer(self, members: list[Member]) -> None:
        """Offer *members* as choices; the submitted choice must be one of them."""
        choices = [SelectChoice(str(member.user_id), member.display_name) for member in members]
        self.assignee.choices = [SelectChoice("", "Nobody"), *choices]


class CommentForm(FlaskForm):
    """A comment on a task."""

    body = TextAreaField("Comment", [DataRequired(), Length(max=10_000)], render_kw={"rows": 3})


class MemberForm(FlaskForm):
    """A new member."""

    email = EmailField("E-mail address", [DataRequired(), Length(max=254)])
