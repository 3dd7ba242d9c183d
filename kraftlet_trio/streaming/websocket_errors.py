from __future__ import annotations


class WebSocketError(Exception):
    """The peer broke the protocol; nothing more can be received on the connection."""

    def __init__(self, reason: str, code: int = 1002) -> None:
        super().__init__(reason)
        self.code = code
        """For the close frame (RFC 6455, 7.4.1)."""
