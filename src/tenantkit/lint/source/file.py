"""A revision's file: its comments that silence findings, and the side effects of its Python."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.graph.suspicions import Suspicion, find

_NOQA = re.compile(r"#\s*tenantkit:\s*noqa\b(?::\s*(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*))?", re.IGNORECASE)

_ALL = frozenset({"*"})
"""The codes of a comment without codes."""


@dataclass(frozen=True)
class Source:
    """The text of a revision's file."""

    text: str

    @classmethod
    def of(cls, file: Path) -> Source:
        """Return the source in *file*.

        :raises ConfigurationError: if it is a compiled file.
        """
        if file.suffix != ".py":
            raise ConfigurationError(f"{file} has no source, which lint reads. Run it where the .py files are.")
        with tokenize.open(file) as opened:  # decodes it as Python does
            return cls(opened.read())

    def is_silenced(self, code: str, lines: tuple[int, ...]) -> bool:
        """Return whether a comment silences *code* in the whole file, or in a statement on one of *lines*."""
        if _matches(code, self._for_file):
            return True
        return any(
            first <= noted <= last and _matches(code, codes)
            for line in lines
            for first, last in [self._span(line)]
            for noted, codes in self._for_lines.items()
        )

    @cached_property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """The suspicions in ``upgrade()``, and in the functions of this file that it calls."""
        return self.suspicions_of("upgrade")

    def suspicions_of(self, function: str) -> tuple[Suspicion, ...]:
        """Return the suspicions in *function*, and in the functions of this file that it calls."""
        return find(self._tree, self._reached(function))

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.text)

    def _reached(self, function: str) -> list[ast.stmt]:
        """Return the module's own statements, *function*, and the functions that it calls."""
        functions = {
            node.name: node for node in self._tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        reached: dict[str, ast.stmt] = {}
        others = [node for node in self._tree.body if node not in functions.values()]
        names = [function, *_names(others)]
        while names:
            name = names.pop()
            if name in functions and name not in reached:
                reached[name] = functions[name]
                names += _names([functions[name]])
        return [*others, *reached.values()]

    @cached_property
    def _comments(self) -> dict[int, frozenset[str]]:
        """The comments that silence, by line."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {
            token.start[0]: frozenset(re.split(r"\s*,\s*", found["codes"].lower())) if found["codes"] else _ALL
            for token in tokens
            if token.type == tokenize.COMMENT and (found := _NOQA.match(token.string))
        }

    @cached_property
    def _for_file(self) -> frozenset[str]:
        """The codes that are silenced in the whole file, by comments above all code except the docstring."""
        body = self._tree.body[1:] if ast.get_docstring(self._tree) is not None else self._tree.body
        first = body[0].lineno if body else 0
        return frozenset(code for line, codes in self._comments.items() if line < first for code in codes)

    @cached_property
    def _for_lines(self) -> dict[int, frozenset[str]]:
        """The codes that are silenced in single lines; a comment alone in its line is for the next line of code."""
        lines = self.text.splitlines()
        found: dict[int, frozenset[str]] = {}
        for line, codes in self._comments.items():
            target = line
            while target < len(lines) and lines[target - 1].lstrip().startswith("#"):
                target += 1
            found[target] = found.get(target, frozenset()) | codes
        return found

    def _span(self, line: int) -> tuple[int, int]:
        """Return the first and the last line of the statement at *line*."""
        spans = [
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(self._tree)
            if isinstance(node, ast.stmt) and not hasattr(node, "body")
        ]
        around = [span for span in spans if span[0] <= line <= span[1]]
        return min(around, key=lambda span: span[1] - span[0], default=(line, line))


def _matches(code: str, codes: frozenset[str]) -> bool:
    return "*" in codes or code.lower() in codes


def _names(nodes: list[ast.stmt]) -> list[str]:
    return [each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)]
