"""Content negotiation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.errors import LocalError
from stream_protocols.negotiate import (
    MAX_ELEMENTS,
    choose_encoding,
    choose_media_type,
    choose_subprotocol,
    rank_encodings,
)

SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, SSE),
        ("", SSE),
        (" , ,", SSE),
        ("*/*", SSE),
        ("text/event-stream", SSE),
        ("application/x-ndjson", NDJSON),
        ("APPLICATION/X-NDJSON", NDJSON),
        ("application/*", NDJSON),
        ("application/json, application/x-ndjson", NDJSON),  # our order breaks the tie
        ("application/json, application/x-ndjson;q=0.9", JSON),
        ("text/event-stream;q=0.1, */*;q=0.2", NDJSON),  # the specific range holds, though it is lower
        ("text/event-stream;q=0, */*", NDJSON),
        ("text/*;q=0, */*", NDJSON),
        ("*/*;q=0, application/json;q=0.001", JSON),
        ("application/json;q=0.5;v=1, application/x-ndjson;q=0.4", NDJSON),  # no v=1 here
        ("application/json; charset=utf-8", JSON),
        ('application/json;charset="UTF-8"', JSON),
        ("text/html, image/gif, *; q=.2, */*; q=.2", SSE),  # Java
        ("application/json;;q=0.5; , text/*;Q=0.4", JSON),
        ("text/html", None),
        ("text/html;q=1, text/event-stream;q=0", None),
        ("*/*;q=0", None),
        ("*/*;q=0.000", None),
        # Of contradictory wishes the lower weight holds.
        ("application/json;q=0, application/json", None),
        ("application/json, application/json;q=0", None),
        # Malformed elements are as if not sent.
        ("application/json;q=2, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;q=, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;q=0.1234, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;q=1;q=1, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;q=-1, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;q=١, application/x-ndjson;q=0.1", NDJSON),
        ("application/json;v, application/x-ndjson;q=0.1", NDJSON),
        ("application /json, application/x-ndjson;q=0.1", NDJSON),
        ('text/html;x="a, application/json, b", application/x-ndjson;q=0.1', NDJSON),
        ('text/html;x="\\", application/json, b", application/x-ndjson;q=0.1', NDJSON),
        ('application/x-ndjson;q=0.1, text/html;x="application/json, ', NDJSON),
        ("nonsense", SSE),
    ],
)
def test_media_types(accept: str | None, expected: str | None) -> None:
    assert choose_media_type(accept, [SSE, NDJSON, JSON]) == expected


def test_parameters_of_an_offer_count() -> None:
    offers = ["a/b;v=1", 'a/b; V="2"', "a/b"]
    assert choose_media_type("a/b;v=2", offers) == offers[1]
    assert choose_media_type("a/b;q=0.5, a/b;v=2;q=0.4", offers) == offers[0]
    assert choose_media_type("a/b;v=1;q=0, a/b;v=2;q=0, a/b", offers) == offers[2]
    assert choose_media_type("a/b;v=3", offers) is None


def test_an_offer_must_be_a_media_type() -> None:
    for offer in ("text/plain;oops", "text"):
        with pytest.raises(LocalError, match=offer):
            choose_media_type("*/*", [offer])


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip; q=0, br ; q=0", "identity"),
        ("*", "br"),
        ("br;q=0, *", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("identity", "identity"),
        ("gzip, identity", "gzip"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip, identity;q=0.5", "gzip"),
        ("deflate", "identity"),
        ("gzip, identity;q=0", "gzip"),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("deflate, *;q=0", None),
        ("*;q=0, identity", "identity"),
        ("identity;q=0, *", "br"),
        ("gzip;q=0, gzip", "identity"),
        ("gzip, gzip;q=0", "identity"),
        ("notgzip", "identity"),
        ("gzip;level=9", "identity"),
        ("gzip;q=9", "identity"),
        ("gz ip", "identity"),
        (";gzip", "identity"),
        ('"gzip"', "identity"),
    ],
)
def test_encodings(accept_encoding: str | None, expected: str | None) -> None:
    assert choose_encoding(accept_encoding, ["br", "gzip"]) == expected


def test_identity_may_be_ranked_by_the_server() -> None:
    assert choose_encoding("gzip, identity", ["identity", "gzip"]) == "identity"
    assert choose_encoding("gzip", ["identity", "gzip"]) == "gzip"
    assert choose_encoding("gzip", []) == "identity"


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, ["identity"]),
        ("gzip", ["gzip", "identity"]),
        ("gzip, br", ["br", "gzip", "identity"]),
        ("gzip, br;q=0.5", ["gzip", "br", "identity"]),
        ("gzip, identity;q=0.7, br;q=0.5", ["gzip", "identity", "br"]),
        ("*;q=0.2, br;q=0.1", ["gzip", "identity", "br"]),
        ("identity;q=0, *", ["br", "gzip"]),
        ("identity;q=0, gzip", ["gzip"]),
        ("br;q=0, *", ["gzip", "identity"]),
        ("x-gzip, x-br", ["gzip", "identity"]),
        ("*;q=0", []),
    ],
)
def test_all_encodings_that_a_client_takes(accept_encoding: str | None, expected: list[str]) -> None:
    assert rank_encodings(accept_encoding, ["br", "gzip"]) == expected


def test_subprotocols_in_the_order_of_the_client() -> None:
    assert choose_subprotocol(["x", "b", "a"], ["a", "b"]) == "b"
    assert choose_subprotocol(["A"], ["a"]) is None
    assert choose_subprotocol([], ["a"]) is None
    assert choose_subprotocol(["x"] * MAX_ELEMENTS + ["a"], ["a"]) is None


@pytest.mark.parametrize(
    "hostile",
    [
        "," * 100_000,
        ";" * 100_000,
        '"' * 100_001,
        'a/b;x="' * 20_000,
        'a/b;x="' + "\\" * 100_001,
        '"\\' * 50_000,
        "a/b;" * 30_000,
        "a/b;x=y," * 20_000,
        "*/*;q=0.0000000001," * 9_000,
        "a" * 100_000,
        " " * 100_000 + "x",
    ],
)
def test_hostile_headers_cost_little(hostile: str) -> None:
    # Without bounds, or with a regular expression that backtracks, these take minutes.
    choose_media_type(hostile, [SSE, NDJSON, JSON])
    choose_encoding(hostile, ["br", "gzip"])


def test_only_so_many_elements_are_read() -> None:
    assert choose_media_type("a/b," * MAX_ELEMENTS + SSE, [SSE]) is None


header_text = st.text(alphabet='*/;,q=01.5"\\ ab\t') | st.text()


@given(header_text)
def test_any_header_has_an_answer(header: str) -> None:
    assert choose_media_type(header, ["a/b", "b/a"]) in ("a/b", "b/a", None)
    assert choose_encoding(header, ["a", "b"]) in ("a", "b", "identity", None)


weights = st.sampled_from([0, 1, 250, 500, 1000])
types = st.sampled_from(["*/*", "a/*", "b/*", "a/a", "a/b", "b/a", "b/b"])


@given(st.dictionaries(types, weights, min_size=1), st.permutations(["a/a", "a/b", "b/a", "b/b"]))
def test_no_offer_is_better_than_the_choice(ranges: dict[str, int], offers: list[str]) -> None:
    def weight(offer: str) -> int:
        keys = (offer, offer[0] + "/*", "*/*")
        return next((ranges[key] for key in keys if key in ranges), 0)

    header = " , ".join(f"{range} ; q={weight / 1000:.3f}" for range, weight in ranges.items())
    best = max(map(weight, offers))
    expected = next(offer for offer in offers if weight(offer) == best) if best else None
    assert choose_media_type(header, offers) == expected


@given(st.dictionaries(st.sampled_from(["br", "gzip", "identity", "*"]), weights, min_size=1))
def test_an_encoding_that_was_refused_is_never_sent(wishes: dict[str, int]) -> None:
    header = ",".join(f"{coding};q={weight / 1000:.3f}" for coding, weight in wishes.items())
    choice = choose_encoding(header, ["br", "gzip"])
    silent = 1 if choice == "identity" else 0
    if choice is None:
        assert wishes.get("identity", wishes.get("*")) == 0
    else:
        assert wishes.get(choice, wishes.get("*", silent)) > 0
