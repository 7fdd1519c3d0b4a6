"""
Typed WebSocket messages, RPC and publish/subscribe for Django, on Channels.

What is here imports neither Django nor Channels. The Django side is imported by
module: ``wskit_channels.asgi``, ``wskit_channels.consumer``, ``wskit_channels.publish``.
"""

from wskit_channels.protocol.errors import (
    UNSET,
    CloseConnection,
    ErrorCode,
    PubSubError,
    WsKitError,
)
from wskit_channels.protocol.heartbeat import Heartbeat
from wskit_channels.protocol.limits import LimitExceeded, Limits
from wskit_channels.protocol.messages import Message, Meta, Rpc, message, response_of, rpc
from wskit_channels.protocol.topics import Topic
from wskit_channels.protocol.validation import PydanticValidator, Validator
from wskit_channels.routing.context import CloseContext, ConnectionContext, Context, RpcContext
from wskit_channels.routing.handshake import Handshake, User
from wskit_channels.routing.idempotency import IdempotencyStore, MemoryIdempotencyStore
from wskit_channels.routing.middleware import CallNext
from wskit_channels.routing.policy import TopicAction
from wskit_channels.routing.ratelimit import (
    Decision,
    Limiter,
    MemoryLimiter,
    per_address,
    per_user,
    per_user_per_type,
    rate_limit,
)
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.router import Router, RouterFrozen
from wskit_channels.routing.shell import AppNotInstalled
from wskit_channels.routing.table import DuplicateRoute, RouteInfo
from wskit_channels.routing.throttle import Throttled, throttled
from wskit_channels.routing.topics import Topics, TopicsChange

__all__ = [
    "UNSET",
    "AppNotInstalled",
    "CallNext",
    "CloseConnection",
    "CloseContext",
    "ConnectionContext",
    "Context",
    "Decision",
    "DuplicateRoute",
    "ErrorCode",
    "Handshake",
    "Heartbeat",
    "IdempotencyStore",
    "LimitExceeded",
    "Limiter",
    "Limits",
    "MemoryIdempotencyStore",
    "MemoryLimiter",
    "Message",
    "Meta",
    "PubSubError",
    "PublishResult",
    "PydanticValidator",
    "RouteInfo",
    "Router",
    "RouterFrozen",
    "Rpc",
    "RpcContext",
    "Throttled",
    "Topic",
    "TopicAction",
    "Topics",
    "TopicsChange",
    "User",
    "Validator",
    "WsKitError",
    "message",
    "per_address",
    "per_user",
    "per_user_per_type",
    "rate_limit",
    "response_of",
    "rpc",
    "throttled",
]

__version__ = "0.1.0"
