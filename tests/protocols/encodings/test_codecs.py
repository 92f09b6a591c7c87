"""Codecs: whatever has been fed can be decoded at once, by decoders that others have written."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
import zlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.encodings import Codec, Tuning, load_codec
from stream_protocols.encodings.dictionary import CONTENT
from tests.doubles.decoders import DCZ_HEAD, decoder

CODINGS = ["gzip", "deflate", "br", "zstd", "dcz"]
GRADES = [(coding, grade) for coding in CODINGS for grade in range(len(load_codec(coding, Tuning()).costs))]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "then", "some", "follow", "it"]


@cache
def openai(count: int = 1000) -> list[bytes]:
    """An OpenAI chat stream of one-word deltas, as the gateway sends it."""
    chunk = '{"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx","object":"chat.completion.chunk","created":1700000000,'
    chunk += '"model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":'
    chunk += '{"content":" %s"},"logprobs":null,"finish_reason":null}]}'
    lines = [f"id: iUQIGEIwC1uboG1C.9Aie9DGL.{n}\ndata: " + chunk % WORDS[n * n % len(WORDS)] for n in range(count)]
    return [f"{line}\n\n".encode() for line in lines]


@cache
def native(count: int = 1000) -> list[bytes]:
    """The same in our own dialect."""
    deltas = [{"type": "text.delta", "text": " " + WORDS[n * n % len(WORDS)]} for n in range(count)]
    events = [json.dumps(delta, separators=(",", ":")) for delta in deltas]
    return [f"id: iUQIGEIwC1uboG1C.9Aie9DGL.{n}\ndata: {event}\n\n".encode() for n, event in enumerate(events)]


def encode(codec: Codec, pieces: list[bytes], grade: int = 0) -> list[bytes]:
    """What each piece becomes, and what ends the body."""
    compressor = codec.compressor(grade)
    return [*(compressor.feed(piece) for piece in pieces), compressor.finish()]


@pytest.mark.parametrize(("coding", "grade"), GRADES)
def test_every_event_can_be_decoded_when_it_arrives(coding: str, grade: int) -> None:
    decode = decoder(coding)
    *coded, end = encode(load_codec(coding, Tuning()), openai(200), grade)
    for piece, event in zip(coded, openai(200), strict=True):
        assert not decode.ended
        assert decode.feed(piece) == event
    assert decode.feed(end) == b""
    assert decode.ended


@pytest.mark.parametrize("coding", CODINGS)
def test_cut_anywhere_it_decodes_alike(coding: str) -> None:
    decode = decoder(coding)
    coded = b"".join(encode(load_codec(coding, Tuning()), openai(20)))
    assert b"".join(decode.feed(coded[at : at + 1]) for at in range(len(coded))) == b"".join(openai(20))
    assert decode.ended


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_is_a_valid_one(coding: str) -> None:
    decode = decoder(coding)
    (end,) = encode(load_codec(coding, Tuning()), [])
    assert decode.feed(end) == b""
    assert decode.ended


@pytest.mark.parametrize(("coding", "grade"), GRADES)
@given(pieces=st.lists(st.binary(min_size=1, max_size=3000), max_size=8))
def test_any_bytes_survive(coding: str, grade: int, pieces: list[bytes]) -> None:
    decode = decoder(coding)
    *coded, end = encode(load_codec(coding, Tuning()), pieces, grade)
    assert all(coded)
    assert [decode.feed(piece) for piece in coded] == pieces
    assert decode.feed(end) == b""
    assert decode.ended


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("tuning", [Tuning(window_bits=15), Tuning(window_bits=12, gzip_level=9, br_level=5)])
def test_every_tuning_decodes(coding: str, tuning: Tuning) -> None:
    codec = load_codec(coding, tuning)
    assert list(codec.costs) == sorted(codec.costs, reverse=True)
    for grade in range(len(codec.costs)):
        decode = decoder(coding)
        assert b"".join(map(decode.feed, encode(codec, openai(), grade))) == b"".join(openai())


@pytest.mark.parametrize("coding", CODINGS)
def test_nine_tenths_of_an_openai_stream_are_saved(coding: str) -> None:
    coded = encode(load_codec(coding, Tuning()), openai())
    assert sum(map(len, coded)) <= 0.1 * sum(map(len, openai()))


@pytest.mark.parametrize(("coding", "saved"), [("gzip", 0.77), ("br", 0.69), ("zstd", 0.72), ("dcz", 0.72)])
def test_what_is_saved_of_a_native_stream(coding: str, saved: float) -> None:
    """Events of 75 bytes: a flush and a new word in each are what is left."""
    coded = encode(load_codec(coding, Tuning()), native())
    assert sum(map(len, coded)) <= (1 - saved) * sum(map(len, native()))


def test_a_dictionary_pays_from_the_first_event_on() -> None:
    plain = encode(load_codec("zstd", Tuning()), native(10))
    dictionary = encode(load_codec("dcz", Tuning()), native(10))
    assert len(dictionary[0]) - len(DCZ_HEAD) < 0.7 * len(plain[0])
    assert len(dictionary[1]) <= len(plain[1])


def test_deflate_is_zlibs_format() -> None:
    coded = b"".join(encode(load_codec("deflate", Tuning()), openai(3)))
    assert zlib.decompress(coded) == b"".join(openai(3))
    assert (coded[0] & 15, int.from_bytes(coded[:2]) % 31) == (8, 0)  # RFC 1950 §2.2


def test_flushes_end_where_every_decoder_looks() -> None:
    """Go's, for one, hands out nothing before the empty stored block that a sync flush ends with."""
    for coding in ("gzip", "deflate"):
        *coded, _ = encode(load_codec(coding, Tuning()), openai(5))
        assert all(piece.endswith(b"\x00\x00\xff\xff") for piece in coded)


def test_dcz_is_a_skippable_frame_and_a_zstd_frame() -> None:
    first = encode(load_codec("dcz", Tuning()), native(1))[0]
    assert first.startswith(DCZ_HEAD)
    assert first[40:44] == bytes.fromhex("28b52ffd")


def test_the_zstd_tool_decodes_dcz(tmp_path: pytest.TempPathFactory) -> None:
    folder = str(tmp_path)
    with open(f"{folder}/dictionary", "wb") as file:
        file.write(CONTENT)
    coded = b"".join(encode(load_codec("dcz", Tuning()), native(100)))
    try:
        tool = ["zstd", "-d", "-c", "--patch-from", f"{folder}/dictionary"]
        done = subprocess.run(tool, input=coded, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("zstd is not installed")
    assert done.stdout == b"".join(native(100))


# Memory


def test_zlib_takes_the_memory_that_it_says() -> None:
    """Its allocations are Python's, so they can be counted exactly."""
    events = openai(50)
    for coding in ("gzip", "deflate"):
        codec = load_codec(coding, Tuning())
        assert codec.costs[0] <= 16_384
        for grade, cost in enumerate(codec.costs):
            tracemalloc.start()
            compressor = codec.compressor(grade)
            for event in events:
                compressor.feed(event)
            taken = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            assert 0.9 * cost < taken <= cost + 512  # the loop of this test


MEASURE = """
import gc, sys
from stream_protocols.encodings import Tuning, load_codec

def private():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty"))

codec, event = load_codec(sys.argv[1], Tuning()), b"id: 1\\ndata: " + b"x" * 200 + b"\\n\\n"
grade, count = int(sys.argv[2]), 200
kept = [codec.compressor(grade) for _ in range(3)]
for compressor in kept:
    compressor.feed(event)
gc.collect()
before = private()
kept = kept + [codec.compressor(grade) for _ in range(count)]
for compressor in kept:
    for _ in range(60):
        compressor.feed(event)
print(1024 * (private() - before) // count)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("coding", "grade"), [("br", 0), ("zstd", 0), ("dcz", 0)])
def test_the_others_take_about_what_they_say(coding: str, grade: int) -> None:
    """Private memory of a process with 200 compressors more; the budget counts on it."""
    done = subprocess.run([sys.executable, "-c", MEASURE, coding, str(grade)], capture_output=True, check=True)
    cost = load_codec(coding, Tuning()).costs[grade]
    assert 0.5 * cost < int(done.stdout) < 1.15 * cost
