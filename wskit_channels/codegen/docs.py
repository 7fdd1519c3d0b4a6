"""
Docstrings, of classes, functions and fields, as descriptions for clients.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["doc_of", "field_docs"]


def doc_of(documented: Any) -> str:
    """A docstring, of the thing itself and of nothing that it derives from."""
    while isinstance(documented, functools.partial):
        documented = documented.func
    doc = getattr(documented, "__doc__", None)
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


def field_docs(cls: type[Any]) -> Mapping[str, str]:
    """The strings that stand below a class's fields, those of its bases included."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        found.update(_own_field_docs(one))
    return found


@functools.cache
def _own_field_docs(cls: type[Any]) -> Mapping[str, str]:
    if "__annotations__" not in cls.__dict__:
        return {}
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}  # made at run time, or its source is not at hand
    return dict(_documented(node)) if isinstance(node, ast.ClassDef) else {}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            yield field.target.id, inspect.cleandoc(below.value.value).strip()
