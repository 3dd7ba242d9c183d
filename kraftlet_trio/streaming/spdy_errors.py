"""What is wrong with a peer's SPDY."""


class SPDYError(Exception):
    """The peer broke the protocol in a way that ends the connection."""
