from wskit_channels import WsKitError


class RoomFull(WsKitError, code="ROOM_FULL", retryable=True):
    """The room has as many people as it takes."""


class BusRoomFull(RoomFull):
    """Answered by its parent's code."""
