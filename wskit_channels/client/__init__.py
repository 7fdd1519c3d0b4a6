"""
The Python client: typed requests and messages over a connection that comes back.

Imports neither Django nor Channels; needs the ``client`` extra. ``SyncClient`` is the same
for scripts without asyncio, and ``python -m wskit_channels.client URL`` a probe.
"""

from wskit_channels.client.auth import Auth
from wskit_channels.client.call import Call
from wskit_channels.client.client import Client
from wskit_channels.client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionClosed,
    InvalidFrame,
    Overflow,
    RequestTimeout,
    ServerError,
    ServerTimeout,
    StateError,
)
from wskit_channels.client.frames import UnknownMessage
from wskit_channels.client.inbox import Subscription
from wskit_channels.client.policy import Reconnect
from wskit_channels.client.settings import ClientOptions, ClientSettings
from wskit_channels.client.sync import SyncCall, SyncClient
from wskit_channels.protocol.heartbeat import Heartbeat

__all__ = [
    "Auth",
    "Call",
    "Client",
    "ClientError",
    "ClientOptions",
    "ClientSettings",
    "ConnectFailed",
    "ConnectionClosed",
    "Heartbeat",
    "InvalidFrame",
    "Overflow",
    "Reconnect",
    "RequestTimeout",
    "ServerError",
    "ServerTimeout",
    "StateError",
    "Subscription",
    "SyncCall",
    "SyncClient",
    "UnknownMessage",
]
