"""Which protocol a request is upgraded to, and why it may not be."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from kraftlet_trio.http.messages import Request
from kraftlet_trio.streaming.remote_command import CommandEnd, WantedStreams
from kraftlet_trio.streaming.upgrade import upgrade_to_command, upgrade_to_port_forward
from kraftlet_trio.streaming.websocket_port_forward import MOST_PORTS

SPDY = {"connection": "Upgrade", "upgrade": "SPDY/3.1"}
WEBSOCKET = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def handler(streams):
    return CommandEnd()


async def dial(port):
    raise OSError("nobody")


def command(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(method="GET", path="/exec", headers=named)
    return upgrade_to_command(request, WantedStreams(stdout=True), handler)


def ports(query=(), **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    query_string = urlencode(query, doseq=True)
    request = Request(method="GET", path="/portForward", query_string=query_string, headers=named)
    return upgrade_to_port_forward(request, dial)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("v4.channel.k8s.io", "v4.channel.k8s.io"),
        ("v5.channel.k8s.io, v4.channel.k8s.io", "v5.channel.k8s.io"),
        ("v9.channel.k8s.io,v3.channel.k8s.io", "v3.channel.k8s.io"),
        ("channel.k8s.io", "channel.k8s.io"),
    ],
)
def test_the_first_of_the_clients_protocols_is_spoken(offered, chosen):
    answer = command(**SPDY, x_stream_protocol_version=offered)
    assert answer.status == 101
    assert answer.upgrade is not None
    assert answer.headers == {
        "connection": "Upgrade",
        "upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": chosen,
    }


@pytest.mark.parametrize("upgrade", [command, ports])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"connection": "Upgrade"},
        {"upgrade": "SPDY/3.1"},
        {"connection": "keep-alive", "upgrade": "SPDY/3.1"},
        {"connection": "Upgrade", "upgrade": "h2c"},
    ],
)
def test_who_asks_for_no_upgrade_gets_none(upgrade, headers):
    answer = upgrade(**headers, x_stream_protocol_version="v4.channel.k8s.io")
    assert (answer.status, answer.body) == (400, b"missing upgrade headers")


def test_upgrades_are_named_in_any_case():
    answer = command(
        connection="keep-alive, upgrade",
        upgrade="spdy/3.1",
        x_stream_protocol_version="v4.channel.k8s.io",
    )
    assert answer.status == 101


@pytest.mark.parametrize("upgrade", [command, ports])
@pytest.mark.parametrize("offered", [{}, {"x_stream_protocol_version": " , "}])
def test_spdy_needs_a_protocol(upgrade, offered):
    assert upgrade(**SPDY, **offered).status == 400


def test_what_is_spoken_is_told_where_nothing_fits():
    answer = ports(**SPDY, x_stream_protocol_version="v4.channel.k8s.io")
    assert answer.status == 403
    assert answer.headers["x-accepted-stream-protocol-versions"] == "portforward.k8s.io"


def test_commands_and_ports_come_over_websocket_too():
    answer = command(**WEBSOCKET, sec_websocket_protocol="v5.channel.k8s.io")
    assert (answer.status, answer.headers["upgrade"]) == (101, "websocket")
    assert command(**WEBSOCKET).status == 101
    tunnel = ports(**WEBSOCKET, sec_websocket_protocol="SPDY/3.1+portforward.k8s.io")
    assert tunnel.headers["sec-websocket-protocol"] == "SPDY/3.1+portforward.k8s.io"


def test_old_websockets_name_their_ports():
    assert ports({"port": [80, 8080]}, **WEBSOCKET).status == 101
    assert ports({"port": "80,8080"}, **WEBSOCKET).status == 101


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"port": ""},
        {"port": "http"},
        {"port": "0"},
        {"port": "65536"},
        {"port": "80,"},
        {"port": "-1"},
        {"port": "\uff19"},
        {"port": "9" * 5000},
        {"port": list(range(1, MOST_PORTS + 2))},
    ],
)
def test_what_is_no_port_is_refused_before_the_upgrade(query):
    answer = ports(query, **WEBSOCKET)
    assert answer.status == 400
    assert len(answer.body) < 200
