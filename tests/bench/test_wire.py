"""The marks and scripts survive whatever a proxy does to the bytes around them."""

import json
import re

import pytest

from bench import chunks
from bench.histogram import Histogram
from bench.response import BadResponse, Response
from bench.tally import Order
from bench.wire import STAMP, Scanner, Script, parse_script


def test_a_script_is_found_in_any_json():
    script = Script(id=7, n=3, gap=20_000, hold=1)
    body = json.dumps({"messages": [{"content": [{"type": "text", "text": script.text()}]}], "n": 1})
    assert parse_script(body.encode()) == script


def test_a_body_without_a_script_gets_the_default():
    assert parse_script(b'{"model":"bench"}') == Script()


def test_marks_are_found_however_the_body_is_cut():
    body = b"".join(b"data: %b%08d:%019d]x\n\n" % (b'{"a":["[', number, number * 5) for number in range(3))
    expected = [(b"%08d" % number, b"%019d" % (number * 5)) for number in range(3)]
    for size in range(1, len(body) + 1):
        scanner = Scanner()
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert [mark for piece in pieces for mark in scanner.feed(piece)] == expected


@pytest.mark.parametrize("role", [True, False])
def test_a_chunk_is_what_openai_sends(role):
    before, after = chunks.parts(250, role)
    response = Response()
    framed = chunks.HEAD + before + b"00000012:" + b"%019d" % 34 + after + b"0\r\n\r\n"
    event = response.feed(framed)
    assert response.done
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert 250 <= len(event) < 275
    content = json.loads(event[6:])
    assert content["object"] == "chat.completion.chunk"
    assert content["choices"][0]["delta"]["content"].startswith("[00000012:0000000000000000034]")
    assert ("role" in content["choices"][0]["delta"]) is role


def test_a_block_holds_the_same_chunks():
    block = chunks.block(250, 0, 3).replace(STAMP, b"%019d" % 5)
    assert [mark[0] for mark in Scanner().feed(block)] == [b"00000000", b"00000001", b"00000002"]
    assert len(re.findall(rb"data: ", block)) == 3


RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", False),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello!", b"hello!", False),
    (b"HTTP/1.1 200 OK\r\n\r\nhello!", b"hello!", True),
    (b"HTTP/1.1 204 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", b"", True),
]


@pytest.mark.parametrize(("wire", "body", "closes"), RESPONSES)
def test_a_response_is_read_however_it_is_cut(wire, body, closes):
    for size in range(1, len(wire) + 1):
        response = Response()
        got = b"".join(response.feed(wire[start : start + size]) for start in range(0, len(wire), size))
        if not response.done:
            response.end_of_file()
        assert got == body
        assert response.done
        assert response.closes is closes


def test_a_response_cut_short_is_not_done():
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel")
    response.end_of_file()
    assert not response.done


def test_what_is_not_http_is_said_to_be_so():
    with pytest.raises(BadResponse):
        Response().feed(b"SSH-2.0-OpenSSH\r\n\r\n")


@pytest.mark.parametrize(
    ("arrived", "lost", "repeated", "disordered"),
    [
        ([0, 1, 2], 0, 0, 0),
        ([0, 2, 3], 1, 0, 0),
        ([0, 1, 1, 2], 0, 1, 0),
        ([0, 2, 1, 3], 0, 0, 1),
        ([0, 4, 2, 2], 2, 1, 1),
    ],
)
def test_order_tells_lost_from_repeated_from_late(arrived, lost, repeated, disordered):
    order = Order()
    for sequence in arrived:
        order.see(sequence)
    assert (order.lost, order.repeated, order.disordered) == (lost, repeated, disordered)


def test_percentiles_are_within_a_thousandth():
    values = [int(1.01**power * 1000) for power in range(1500)]
    histogram = Histogram.of(values)
    for percent in (1, 50, 90, 99, 99.9, 100):
        exact = sorted(values)[max(0, -(-len(values) * percent // 100) - 1).__int__()]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.001)


def test_histograms_add_up_and_travel_as_json():
    one, two = Histogram.of([1, 2, 3_000_000]), Histogram.of([4])
    one.merge(Histogram.from_json(json.loads(json.dumps(two.to_json()))))
    assert one.total == 4
    assert one.percentile(50) == 2
    assert Histogram().percentile(99) == 0
