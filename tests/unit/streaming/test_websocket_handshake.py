"""What a request to open a WebSocket is answered."""

from __future__ import annotations

import pytest

from kraftlet_trio.streaming.websocket_handshake import Accepted, Refused, open_websocket

ASKED = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "WebSocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SUPPORTED = ("v5.channel.k8s.io", "v4.channel.k8s.io")


def test_answer_has_the_hash_of_the_rfc():
    answer = open_websocket(ASKED, SUPPORTED)
    assert answer == Accepted(
        None,
        {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        },
    )


@pytest.mark.parametrize(
    ("offer", "taken"),
    [
        ("v4.channel.k8s.io, v5.channel.k8s.io", "v4.channel.k8s.io"),
        ("channel.k8s.io,v5.channel.k8s.io", "v5.channel.k8s.io"),
        (" , ", None),
    ],
)
def test_first_supported_protocol_of_the_client_is_taken(offer, taken):
    answer = open_websocket({**ASKED, "sec-websocket-protocol": offer}, SUPPORTED)
    assert isinstance(answer, Accepted)
    assert answer.protocol == taken
    assert answer.headers.get("sec-websocket-protocol") == taken


def test_name_with_a_slash_is_taken():
    name = "SPDY/3.1+portforward.k8s.io"
    answer = open_websocket({**ASKED, "sec-websocket-protocol": name}, [name])
    assert answer.headers["sec-websocket-protocol"] == name


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"sec-websocket-protocol": "soap"}, 403),
        ({"upgrade": "SPDY/3.1"}, 400),
        ({"connection": "close"}, 400),
        ({"sec-websocket-key": ""}, 400),
        ({"sec-websocket-key": "not base64!"}, 400),
        ({"sec-websocket-key": "c2hvcnQ="}, 400),
        ({"sec-websocket-key": "\xe4"}, 400),
        ({"sec-websocket-version": "8"}, 426),
    ],
)
def test_what_does_not_fit_is_refused(changed, status):
    answer = open_websocket({**ASKED, **changed}, SUPPORTED)
    assert isinstance(answer, Refused)
    assert answer.status == status
    assert answer.text


def test_other_versions_are_told_the_right_one():
    answer = open_websocket({**ASKED, "sec-websocket-version": "8"}, SUPPORTED)
    assert answer.headers == {"sec-websocket-version": "13"}
