"""Splices: no text twice, none lost, and no guess where a few characters agree by chance."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.upstream.continuation import MAX_TEXT, MIN_OVERLAP, Overlap, Splice, Transcript, add_usage
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

SAID = "The quick brown fox jumps over the lazy dog, "
REST = "and then it sleeps."


def joined(before: str, pieces: Sequence[str]) -> str:
    """What a client has in the end."""
    overlap = Overlap(before)
    return before + "".join(map(overlap.feed, pieces)) + overlap.settle()


def cuts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("repeated", [0, MIN_OVERLAP, 20, len(SAID)])
def test_an_overlap_is_removed_however_it_is_cut(repeated: int, size: int) -> None:
    again = SAID[len(SAID) - repeated :]
    assert joined(SAID, cuts(again + REST, size)) == SAID + REST


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_few_equal_characters_are_chance(size: int) -> None:
    assert joined("ba", cuts("a nana", size)) == "baa nana"
    assert joined("said he, he said", cuts("he said, and left", size)) == "said he, he saidhe said, and left"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_short_text_said_again_in_full_is_no_chance(size: int) -> None:
    assert joined("Hel", cuts("Hello", size)) == "Hello"


def test_what_only_begins_like_something_said_before_is_kept() -> None:
    again = "brown fox jumps up"
    assert joined(SAID, cuts(again, 1)) == SAID + again


def test_nothing_is_held_back_longer_than_need_be() -> None:
    overlap = Overlap(SAID)
    assert overlap.feed("!") == "!"
    assert overlap.feed("quick") == "quick"
    overlap = Overlap(SAID)
    assert overlap.feed("The quick brown ") == ""
    assert overlap.feed("bear") == "The quick brown bear"


def test_an_answer_that_ends_inside_what_it_repeats() -> None:
    assert joined(SAID, ["The quick brown"]) == SAID + "The quick brown"
    assert joined(SAID, [SAID]) == SAID
    assert joined(SAID, []) == SAID


def longest(before: str, text: str) -> int:
    """The same by trying all of them."""
    if before and text.startswith(before):
        return len(before)
    lengths = [n for n in range(MIN_OVERLAP, min(len(before), len(text)) + 1) if before.endswith(text[:n])]
    return max(lengths, default=0)


@given(st.text("ab", max_size=40), st.integers(0, 40), st.text("ab", max_size=40), st.integers(1, 50))
def test_the_longest_overlap_is_found_in_texts_that_repeat_themselves(
    before: str, repeated: int, rest: str, size: int
) -> None:
    text = before[len(before) - min(repeated, len(before)) :] + rest
    assert joined(before, cuts(text, size)) == before + text[longest(before, text) :]


@given(st.text(max_size=60), st.lists(st.text(max_size=9)))
def test_any_text_in_any_pieces(before: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    assert joined(before, pieces) == before + text[longest(before, text) :]


# Transcripts


def told(*records: Record) -> Transcript:
    transcript = Transcript()
    transcript.note(records)
    return transcript


def test_a_transcript_has_the_text() -> None:
    transcript = told(
        (StreamStarted("m"), COVERED), (TextDelta("a"), b"{}"), (ReasoningDelta("b"), None), (TextDelta("c"), None)
    )
    transcript.note([(Notice("continued", "m"), None), (TextDelta("d"), None), (Usage(1, 2), None)])
    assert transcript.open
    assert transcript.text == "acd"


@pytest.mark.parametrize(
    "record",
    [
        (ToolCallDelta(0, "id", "name"), None),
        (RefusalDelta("no"), None),
        (ChoiceFinished("stop"), None),
        (Notice("untranslated", "m"), b"{}"),
        (ReasoningDelta("hm"), b'{"reasoning":[{"signature":"abc"}]}'),
        (Opaque(), b'{"signature":"abc"}'),
        (TextDelta("x" * (MAX_TEXT + 1)), None),
    ],
    ids=lambda record: type(record[0]).__name__,
)
def test_what_cannot_be_continued(record: Record) -> None:
    transcript = told((TextDelta("a"), None), record, (TextDelta("b"), None))
    assert not transcript.open
    assert transcript.text == ""  # and need not be kept


# Splices


def spliced(splice: Splice, *events: Event) -> list[Event]:
    taken = splice.take([(event, b"raw") for event in events])
    assert all(raw is None for _, raw in taken)
    return [event for event, _ in taken]


def test_the_second_beginning_is_left_out() -> None:
    splice = Splice("", None, "upstream_error")
    assert spliced(splice, StreamStarted("m"), Opaque(), Usage(1, 0)) == []
    assert not splice.heard
    assert spliced(splice, TextDelta("a"), Opaque(), TextDelta("b")) == [TextDelta("a"), TextDelta("b")]
    assert splice.heard
    assert spliced(splice, ChoiceFinished("stop"), StreamFinished("stop")) == [
        ChoiceFinished("stop"),
        Usage(1, 0),  # told at the beginning, and never again
        StreamFinished("stop"),
    ]


def test_usage_is_added_to_what_was_spent_before() -> None:
    splice = Splice(SAID, Usage(7, 5, {"output": {"reasoning": 2}, "tier": "a"}), "upstream_error")
    assert spliced(splice, TextDelta("quick")) == []
    assert splice.heard
    assert spliced(splice, TextDelta("!")) == [TextDelta("quick!")]
    second = Usage(10, 3, {"output": {"reasoning": 1, "audio": 4}, "tier": "b"})
    assert spliced(splice, second, StreamFinished("stop")) == [
        Usage(17, 8, {"output": {"reasoning": 3, "audio": 4}, "tier": "b"}),
        StreamFinished("stop"),
    ]


def test_what_was_held_back_comes_before_anything_else() -> None:
    splice = Splice(SAID, None, "upstream_error")
    assert spliced(splice, TextDelta("The quick"), ToolCallDelta(0)) == [TextDelta("The quick"), ToolCallDelta(0)]


def test_the_place_is_marked_unless_nobody_can_have_noticed() -> None:
    splice = Splice(SAID, None, "upstream_error")
    spliced(splice, TextDelta(SAID + REST))
    ((notice, raw),) = splice.opening()
    assert isinstance(notice, Notice)
    assert (notice.code, raw) == ("continued", None)
    assert notice.data == {"after": len(SAID), "removed": len(SAID), "reason": "upstream_error"}
    assert Splice("", None, None).opening() == []


def test_unknown_usage_is_not_invented() -> None:
    assert add_usage(None, None) is None
    assert add_usage(Usage(1, 2), None) == add_usage(None, Usage(1, 2)) == Usage(1, 2)
    assert add_usage(Usage(1, 2), Usage(3, 4)) == Usage(4, 6)
