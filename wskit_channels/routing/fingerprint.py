"""
What tells one call from another: whose it is, and a digest of its payload.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from wskit_channels.routing.context import ConnectionContext

__all__ = ["digest", "plain", "scope_of"]


def scope_of(ctx: ConnectionContext[Any]) -> list[str]:
    """Whose key it is: a user's, or a browser's, or this connection's."""
    if ctx.user.is_authenticated:
        return ["user", str(ctx.user.pk)]
    session_key = getattr(ctx.session, "session_key", None)
    return ["client", ctx.client_id] if session_key is None else ["session", session_key]


def digest(value: Any) -> str:
    """A hash of plain values, the same in every process."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def plain(value: Any) -> Any:
    """
    A payload as plain values that are the same in every process.

    Serialising it would not do: a set's order differs from process to process.
    """
    if isinstance(value, BaseModel):
        own = {name: value.__dict__[name] for name in type(value).model_fields}
        return plain({**own, **(value.__pydantic_extra__ or {})})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return plain({name: getattr(value, name) for name in names})
    if hasattr(type(value), "__struct_fields__"):  # msgspec's
        return plain({name: getattr(value, name) for name in value.__struct_fields__})
    if isinstance(value, Mapping):
        return sorted(([plain(key), plain(item)] for key, item in value.items()), key=digest)
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=digest)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return to_jsonable_python(value, bytes_mode="base64", fallback=repr)
