"""Conversations for the tests of every dialect: one of all parts, and any that hypothesis makes."""

from hypothesis import strategies as st

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

PIXEL = "iVBORw0KGgo="
WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})

RICH = Conversation(
    system=("Be brief.", "Be kind."),
    messages=(
        Message("user", (Text("What is this?"), Image(data=PIXEL, media_type="image/png"))),
        Message("assistant", (Text("Let me look."), ToolCall("call_1", "weather", '{"city":"Oslo"}'))),
        Message("user", (ToolResult("call_1", (Text("4 °C"),), "weather"),)),
        Message("assistant", (Text("Cold."),)),
        Message("user", (Text("And tomorrow?"),)),
    ),
    tools=(WEATHER,),
    tool_choice=NamedTool("weather"),
    max_tokens=100,
    temperature=0.5,
    top_p=0.9,
    stop=("END",),
)
"""What every dialect can say."""

texts = st.text(min_size=1, max_size=20)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
calls = st.builds(ToolCall, names, names, st.sampled_from(["{}", '{"a":1}', '{"b":[true,null]}']))
user = st.builds(Message, st.just("user"), st.lists(st.builds(Text, texts), min_size=1, max_size=2).map(tuple))
assistant = st.builds(
    lambda text, called: Message("assistant", (Text(text), *called)), texts, st.lists(calls, max_size=2)
)
simple = st.builds(
    Conversation,
    system=st.lists(texts, max_size=1).map(tuple),
    messages=st.tuples(user, assistant, user),
    tools=st.lists(st.builds(Tool, names, texts, st.just({"type": "object"})), max_size=2).map(tuple),
    max_tokens=st.none() | st.integers(1, 10_000),
    temperature=st.none() | st.floats(0, 1),
    stop=st.lists(texts, max_size=2).map(tuple),
    format=st.none() | st.just(Format({"type": "object"}, "shape")),
)
"""Small ones, whose turns alternate and whose texts are not empty."""
