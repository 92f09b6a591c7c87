"""Strategies: where each of them cuts."""

import json

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.chunking import Chunker, Conditions, Waiting, words
from stream_protocols.chunking.adaptive import CEILING, FLOOR, Adaptive
from stream_protocols.chunking.boundaries import safe_cut, utf8_cut, utf8_length
from stream_protocols.chunking.registry import MAX_BYTES, MAX_INTERVAL, chunking
from stream_protocols.chunking.sizes import Bytes, Interval
from stream_protocols.chunking.structured import Json, Lines
from stream_protocols.chunking.words import Sentences, Words
from stream_protocols.errors import InvalidField


def chunks(chunker: Chunker, text: str, *, final: bool = False) -> list[str]:
    """What leaves of a text that is all there; the last entry is what is held, if anything."""
    parts = []
    while text:
        cut = chunker.cut(Waiting(text, final=final))
        if not cut:
            return [*parts, text]
        parts.append(text[:cut])
        text = text[cut:]
    return parts


# Boundaries


@given(st.text(alphabet="ae\u0301👨\u200d👩🇳🇴漢क्ष ", min_size=1), st.integers(1, 20))
def test_no_cut_divides_a_grapheme(text: str, limit: int) -> None:
    cut = safe_cut(text, limit)
    ends = [match.end() for match in regex.finditer(r"\X", text)]
    assert cut in ends
    assert cut <= limit or cut == ends[0] or cut == len(text)


@pytest.mark.parametrize(
    "text", [r"ab\u00e9cd", r"ab\ncd", r"ab\\cd", r"ab\ud83d\ude00cd", r"\u00e9", r"\ud83d\ude00", r"\\n"]
)
def test_no_cut_divides_an_escape(text: str) -> None:
    whole = regex.findall(r"\\u[dD][89abAB]..\\u....|\\u....|\\.|.", text)
    ends = [sum(map(len, whole[: index + 1])) for index in range(len(whole))]
    for limit in range(1, len(text) + 1):
        assert safe_cut(text, limit) in ends


@pytest.mark.parametrize("slashes", range(60, 140, 7))
def test_of_a_long_row_of_backslashes_no_pair_is_divided(slashes: int) -> None:
    text = "x" + "\\" * 2 * slashes
    for limit in range(1, len(text)):
        assert safe_cut(text, limit) % 2 == 1


def test_of_a_long_row_of_flags_none_is_divided() -> None:
    text = "🇩🇪" * 100
    for limit in range(2, len(text)):
        assert safe_cut(text, limit) % 2 == 0


@pytest.mark.parametrize(
    "name", ["adaptive", "words", "sentences", "lines", "json", "bytes:1", "bytes:5", "bytes:64", "interval:40"]
)
@given(st.text(alphabet="ab .。!\u0301\ufe00👨\u200d👩🇳🇴漢क्ष\r\n{,", max_size=1500), st.booleans())
def test_no_strategy_divides_a_grapheme(name: str, text: str, long: bool) -> None:
    """Of a text that is all there; where a provider's own events end is the provider's business."""
    chunker = chunking(name)()
    assert chunker is not None
    text = "e\u0301" * 300 * long + text
    text = json.dumps([text, text], ensure_ascii=False) if name == "json" else text
    ends = {match.end() for match in regex.finditer(r"\X", text)}
    at = 0
    for part in chunks(chunker, text, final=True):
        at += len(part)
        assert at in ends


@given(st.text(min_size=1), st.integers(1, 40))
def test_sizes_in_bytes(text: str, size: int) -> None:
    cut = utf8_cut(text, size)
    first = regex.match(r"\X", text).end()  # type: ignore[union-attr]
    assert 1 <= cut <= len(text)
    assert utf8_length(text[:cut]) <= size or cut <= max(first, 12)
    assert utf8_length(text) == len(text.encode("utf-8", "surrogatepass"))


# bytes, interval


def test_bytes_merge_and_split() -> None:
    assert chunks(Bytes(4), "abcdefghij") == ["abcd", "efgh", "ij"]
    assert Bytes(4).cut(Waiting("abc")) == 0
    assert Bytes(4).cut(Waiting("abc", final=True)) == 3
    assert chunks(Bytes(4), "éé漢漢x", final=True) == ["éé", "漢", "漢x"]


def test_an_interval() -> None:
    interval = Interval(0.04)
    assert interval.cut(Waiting("first")) == 5
    assert interval.cut(Waiting("soon", since=0.01)) == 0
    assert interval.hold(0.0, 0.01) == pytest.approx(0.03)
    assert interval.cut(Waiting("soon after", since=0.04)) == 10


# words, sentences


def test_words_are_whole() -> None:
    assert chunks(Words(), "The quick bro") == ["The quick ", "bro"]
    assert chunks(Words(), "The") == ["The"]
    assert Words().cut(Waiting("The ")) == 0
    assert chunks(Words(), "今日は天気") == ["今日は天", "気"]
    assert chunks(Words(), "The quick bro", final=True) == ["The quick bro"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine", ["Hello there. ", "How are you? ", "Fine"]),
        (
            "Dr. Smith met J. S. Bach at 3.14 p.m. sharp. Then",
            ["Dr. Smith met J. S. Bach at 3.14 p.m. sharp. ", "Then"],
        ),
        ("Use e.g. this, i.e. that. Done", ["Use e.g. this, i.e. that. ", "Done"]),
        ('He said "Stop!" Then he left. ', ['He said "Stop!" ', "Then he left. "]),
        ("Wait... what? Yes", ["Wait... ", "what? ", "Yes"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("Am 3. Mai kam Hr. Meier, z.B. gestern. Gut", ["Am 3. Mai kam Hr. Meier, z.B. gestern. ", "Gut"]),
        ("क्या हाल है? ठीक है। अच्छा", ["क्या हाल है? ", "ठीक है। ", "अच्छा"]),
        ("A title\n\nA paragraph", ["A title\n\n", "A paragraph"]),
        ("Items:\n- one\n- two", ["Items:\n", "- one\n", "- two"]),
        ("Version 2.0.1 is out! Great", ["Version 2.0.1 is out! ", "Great"]),
        ("No end yet", ["No end yet"]),
        ("It ended.", ["It ended."]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert chunks(Sentences(), text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("She said no. He left. ", ["She said no. ", "He left. "]),
        ("See no. 5 and Fig. 3 here. Then", ["See no. 5 and Fig. 3 here. ", "Then"]),
        ("We sat in the sun. It was hot. ", ["We sat in the sun. ", "It was hot. "]),
        ("On Fri. Nov. 3 it rained. Then", ["On Fri. Nov. 3 it rained. ", "Then"]),
        ("Take vitamin c. Then rest", ["Take vitamin c. ", "Then rest"]),
    ],
)
def test_words_that_are_only_sometimes_abbreviations(text: str, sentences: list[str]) -> None:
    assert chunks(Sentences(), text) == sentences


def test_a_sentence_that_does_not_end_leaves_in_parts() -> None:
    parts = chunks(Sentences(), "word " * 200, final=True)
    assert max(map(len, parts)) <= Sentences.MAX
    assert all(part.endswith(" ") for part in parts)
    assert len(chunks(Sentences(), "x" * 1000, final=True)[0]) == Sentences.MAX


def test_no_sentence_is_longer_even_if_its_end_is_there() -> None:
    """For speech it makes no difference whether it came in time."""
    assert max(map(len, chunks(Sentences(), "word " * 200 + "end. Then", final=True))) <= Sentences.MAX


@pytest.mark.parametrize(
    "text", ["." * 65_536, "x" * 65_536, "e.g. " * 13_107, "." * 5 + ")" * 65_531, "word " * 13_107]
)
def test_a_sentence_is_not_sought_in_all_that_waits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk would cost as much as what waits: by its square in all."""
    seen: list[int] = []
    ends = words.word_ends
    monkeypatch.setattr(words, "word_ends", lambda text: seen.append(len(text)) or ends(text))
    assert "".join(chunks(Sentences(), text, final=True)) == text
    assert not seen or max(seen) <= Sentences.MAX + 1


# lines, json


def test_lines() -> None:
    assert chunks(Lines(), "a\nb\nc") == ["a\nb\n", "c"]
    assert chunks(Lines(), "a\nb\nc", final=True) == ["a\nb\n", "c"]
    assert len(chunks(Lines(), "x" * 20_000)[0]) == 16_384


def test_json_ends_between_tokens() -> None:
    chunker = Json()
    assert chunks(chunker, '{"a": "x, y \\" z", "b": 12') == ['{"a": "x, y \\" z", "b": ', "12"]
    assert chunks(chunker, "123, true") == ["123, ", "true"]
    held = Json()
    assert chunks(held, '["an open, str') == ["[", '"an open, str']
    assert chunks(held, '"an open, string", ') == ['"an open, string", ']


@given(st.lists(st.text(alphabet='ab"\\,:[]{} 1', max_size=6), max_size=12))
def test_json_in_pieces_is_held_as_it_is_in_one(pieces: list[str]) -> None:
    """What has left before never changes where the rest ends: the state across chunks is the text's own."""
    text = "".join(pieces)
    chunker, left, held = Json(), "", ""
    for piece in pieces:
        held += piece
        while held and (cut := chunker.cut(Waiting(held))):
            left, held = left + held[:cut], held[cut:]
    assert left + held == text
    assert held == (text[Json().cut(Waiting(text)) :] if text else "")


def test_json_goes_on_inside_a_string_that_left_without_its_end() -> None:
    chunker = Json()
    assert chunker.cut(Waiting('["an open \\', final=True)) == 1
    assert chunker.cut(Waiting('"an open \\', final=True)) == 10
    assert chunker.cut(Waiting('", still open')) == 0
    assert chunks(chunker, '", still open", 1') == ['", still open", ', "1"]


# adaptive


def test_who_lags_gets_what_waits_in_the_size_of_the_connection() -> None:
    adaptive = Adaptive()
    assert adaptive.immediate
    assert adaptive.cut(Waiting("x" * CEILING)) == CEILING
    adaptive.observe(Conditions(rtt=0.3, rate=50_000))
    assert adaptive.cut(Waiting("x" * CEILING)) == 7500
    adaptive.observe(Conditions(rate=10))
    assert adaptive.cut(Waiting("x" * CEILING)) == FLOOR
    adaptive.observe(Conditions())
    assert adaptive.cut(Waiting("x" * CEILING)) == FLOOR


def test_where_a_large_chunk_ends() -> None:
    adaptive = Adaptive()
    adaptive.observe(Conditions(rate=10))
    lines = ("word " * 20 + "\n") * 5
    assert lines[: adaptive.cut(Waiting(lines))] == ("word " * 20 + "\n") * 2
    words = "word " * 100
    assert words[: adaptive.cut(Waiting(words))].endswith("word ")
    fence = "```python\n" + "x = 1 + 2 + 3 " * 40
    assert fence[: adaptive.cut(Waiting(fence))] == "```python\n"
    inside = "x = 1\n" + "y = 1 + 2 + 3 " * 40  # of a fence that began with what has left before
    assert inside[: adaptive.cut(Waiting(inside))] == "x = 1\n"


def test_lines_make_no_more_than_twice_as_many_chunks() -> None:
    adaptive = Adaptive()
    adaptive.observe(Conditions(rate=10))
    text = ("\n" + "x" * FLOOR) * 100
    assert len(chunks(adaptive, text)) <= 2 * len(text) / FLOOR + 1


def test_the_pace_of_a_far_network() -> None:
    """As many chunks a round trip as it has packets, where that makes a difference."""
    adaptive = Adaptive()
    paces = []
    for conditions in (
        Conditions(),
        Conditions(rtt=0.04, least_rtt=0.00002, window=10),  # loopback, with an answer that took its time
        Conditions(least_rtt=0.03, window=10),
        Conditions(least_rtt=0.08, window=10),
        Conditions(least_rtt=0.08, window=100),
        Conditions(least_rtt=0.3, window=10),
        Conditions(least_rtt=0.3, window=1000),
        Conditions(least_rtt=0.3),
    ):
        adaptive.observe(conditions)
        paces.append(adaptive.pace)
    assert paces == pytest.approx([0, 0, 0, 0.008, 0, 0.03, 0.012, 0.012])


def test_what_comes_sooner_than_the_pace_waits() -> None:
    adaptive = Adaptive()
    adaptive.observe(Conditions(least_rtt=0.3, window=10))
    assert adaptive.cut(Waiting("first")) == 5
    assert adaptive.cut(Waiting("soon", since=0.01)) == 0
    assert adaptive.hold(0.005, 0.01) == pytest.approx(0.02)
    assert adaptive.cut(Waiting("later", since=0.03)) == 5
    assert adaptive.cut(Waiting("last", since=0.01, final=True)) == 4


# Names


@pytest.mark.parametrize(
    "name", ["adaptive", "words", "sentences", "lines", "json", "bytes", "bytes:64", "interval:100"]
)
def test_names(name: str) -> None:
    make = chunking(name)
    assert isinstance(make(), Chunker)
    assert make() is not make()
    assert chunking("passthrough")() is None


@pytest.mark.parametrize(
    "name",
    ["", "Words", "words:3", "bytes:", "bytes:0", "bytes:-1", f"bytes:{MAX_BYTES + 1}", "bytes:٣", "interval:x",
     f"interval:{MAX_INTERVAL + 1}", "x" * 1000],
)  # fmt: skip
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        chunking(name)
    assert caught.value.param == "chunking"
    assert len(caught.value.message) < 300
