"""What Gemini's clients ask, in neutral words."""

import json
from typing import Any

import pytest

from stream_protocols.conversation import (
    Conversation,
    Format,
    Image,
    Message,
    NamedTool,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from stream_protocols.dialects.gemini import Gemini
from stream_protocols.errors import InvalidField
from tests.protocols.dialects.conversations import PIXEL

HELLO = {"role": "user", "parts": [{"text": "hello"}]}
F, G = {"name": "f", "parametersJsonSchema": {"type": "object"}}, {"name": "g"}


def read(body: Any) -> Conversation:
    dialect = Gemini()
    data = json.dumps({"contents": [HELLO], **body}).encode()
    return dialect.read(dialect.parse_request(data, model="m", stream=True))


def turns(*contents: Any) -> tuple[Message, ...]:
    return read({"contents": contents}).messages


def user(*parts: Any) -> Any:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> Any:
    return {"role": "model", "parts": list(parts)}


def called(name: str, identity: str | None = None, **args: Any) -> Any:
    return {"functionCall": {"name": name, "args": args, **({"id": identity} if identity else {})}}


def answered(name: str, response: Any, identity: str | None = None) -> Any:
    return {"functionResponse": {"name": name, "response": response, **({"id": identity} if identity else {})}}


def test_everything_that_it_can_say() -> None:
    config = {
        "maxOutputTokens": 100,
        "temperature": 1.5,
        "topP": 0.9,
        "topK": 40.0,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
        "candidateCount": 2,
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
        "responseModalities": ["TEXT"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    tools = [{"functionDeclarations": [{**F, "description": "Does f."}]}]
    calling = {"functionCallingConfig": {"mode": "AUTO"}}
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "generationConfig": config,
        "tools": tools,
        "toolConfig": calling,
        "safetySettings": [{"category": "x"}],
        "labels": {"a": "b"},
    }
    assert read(body) == Conversation(
        system=("Be brief.", "Be kind."),
        messages=(Message("user", (Text("hello"),)),),
        tools=(Tool("f", "Does f.", {"type": "object"}),),
        tool_choice="auto",
        max_tokens=100,
        temperature=1.5,
        top_p=0.9,
        top_k=40,
        stop=("END",),
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        choices=2,
        format=Format({"type": "object"}),
        effort="high",
    )


def test_names_in_snake_case() -> None:
    body = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {"max_output_tokens": 9, "thinking_config": {"thinking_budget": 0}},
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
        "contents": [
            {"parts": [{"inline_data": {"mime_type": "image/png", "data": PIXEL}}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"snake_case": 1}}}]},
            {"parts": [{"function_response": {"name": "f", "response": {"result": "4"}}}]},
        ],
    }
    conversation = read(body)
    assert (conversation.system, conversation.max_tokens, conversation.effort) == (("Be brief.",), 9, "none")
    assert (conversation.tools[0].parameters, conversation.tool_choice) == ({"type": "object"}, NamedTool("f"))
    assert [message.parts for message in conversation.messages] == [
        (Image(data=PIXEL, media_type="image/png"),),
        (ToolCall("call_1", "f", '{"snake_case":1}'),),
        (ToolResult("call_1", (Text("4"),), "f"),),
    ]


def test_turns() -> None:
    assert turns(
        user({"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}),
        model({"text": "Hm.", "thought": True, "thoughtSignature": "Eq=="}, {"text": "", "thoughtSignature": "Eq=="}),
        {"parts": [{"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png"}}]},
    ) == (
        Message("user", (Text("What is this?"), Image(data=PIXEL, media_type="image/png"))),
        Message("assistant", (Reasoning("Hm.", "Eq=="),)),
        Message("user", (Image(url="https://example.org/a.png", media_type="image/png"),)),
    )


@pytest.mark.parametrize(("data", "plain"), [("-_-_iQ==", "+/+/iQ=="), ("iVBORw0KGgo", "iVBORw0KGgo="), ("", "")])
def test_base64_of_either_alphabet_with_or_without_padding(data: str, plain: str) -> None:
    ((image,),) = [turn.parts for turn in turns(user({"inlineData": {"mimeType": "image/PNG", "data": data}}))]
    assert image == Image(data=plain, media_type="image/png")


# Calls and results


def test_results_find_their_calls_by_name_where_there_are_no_ids() -> None:
    _, calls, results, again, last = turns(
        HELLO,
        model(called("f", a=1), called("g"), called("f", a=2)),
        user(answered("f", {"result": "1"}), answered("f", {"result": "2"}), answered("g", {"result": "3"})),
        model(called("f", a=1)),
        user(answered("f", {"result": "4"}), answered("nobody", {"result": "5"})),
    )
    ids = [part.id for part in calls.parts if isinstance(part, ToolCall)]
    assert ids == ["call_1", "call_2", "call_3"]
    told = [(part.id, part.content) for part in results.parts if isinstance(part, ToolResult)]
    assert told == [("call_1", (Text("1"),)), ("call_3", (Text("2"),)), ("call_2", (Text("3"),))]
    assert [getattr(part, "id", "") for part in (*again.parts, *last.parts)] == ["call_4", "call_4", "call_nobody"]


def test_given_ids_stay() -> None:
    _, calls, results = turns(
        HELLO,
        model(called("f", "x"), called("f", "y")),
        user(answered("f", {"result": "of y"}, "y"), answered("f", {"result": "of x"}, "x")),
    )
    assert [getattr(part, "id", "") for part in (*calls.parts, *results.parts)] == ["x", "y", "y", "x"]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"result": "4 °C"}, "4 °C", False),
        ({"output": "4 °C"}, "4 °C", False),
        ({"error": "Broken."}, "Broken.", True),
        ({"result": {"degrees": 4}}, '{"result":{"degrees":4}}', False),
        ({"a": 1, "result": "x"}, '{"a":1,"result":"x"}', False),
        ({}, "{}", False),
    ],
)
def test_results_are_text(response: Any, text: str, failed: bool) -> None:
    *_, last = turns(HELLO, model(called("f")), user(answered("f", response)))
    assert last.parts == (ToolResult("call_1", (Text(text),), "f", failed),)


def test_images_in_results() -> None:
    result = answered("f", {"result": "see"})
    result["functionResponse"]["parts"] = [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}]
    *_, last = turns(HELLO, model(called("f")), user(result))
    assert last.parts[0] == ToolResult("call_1", (Text("see"), Image(data=PIXEL, media_type="image/png")), "f")


# Tools


@pytest.mark.parametrize(
    ("calling", "names", "choice"),
    [
        ({}, ["f", "g"], None),
        ({"mode": "MODE_UNSPECIFIED"}, ["f", "g"], None),
        ({"mode": "AUTO"}, ["f", "g"], "auto"),
        ({"mode": "NONE"}, ["f", "g"], "none"),
        ({"mode": "ANY"}, ["f", "g"], "required"),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ["f", "g"], "required"),
        ({"mode": "ANY", "allowedFunctionNames": ["g"]}, ["g"], NamedTool("g")),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["g"]}, ["g"], "auto"),
    ],
)
def test_how_tools_are_to_be_used(calling: Any, names: list[str], choice: Any) -> None:
    """What is not allowed is not offered to others, who have no such list."""
    body = {"tools": [{"functionDeclarations": [F]}, {"functionDeclarations": [G]}]}
    conversation = read({**body, "toolConfig": {"functionCallingConfig": calling}})
    assert [tool.name for tool in conversation.tools] == names
    assert conversation.tool_choice == choice


def test_schemas_of_gemini_become_json_schemas() -> None:
    schema = {
        "type": "OBJECT",
        "nullable": True,
        "propertyOrdering": ["type", "n"],
        "required": ["type"],
        "properties": {
            "type": {"type": "STRING", "format": "enum", "enum": ["A", "B"], "example": "A"},
            "n": {"anyOf": [{"type": "INTEGER", "format": "int32"}, {"type": "TYPE_UNSPECIFIED"}]},
            "list": {"type": "ARRAY", "min_items": "1", "items": {"type": "NUMBER", "nullable": True}},
        },
    }
    (tool,) = read({"tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]}).tools
    assert tool.parameters == {
        "type": ["object", "null"],
        "required": ["type"],
        "properties": {
            "type": {"type": "string", "enum": ["A", "B"]},
            "n": {"anyOf": [{"type": "integer", "format": "int32"}, {}]},
            "list": {"type": "array", "minItems": 1, "items": {"type": ["number", "null"]}},
        },
    }
    config = {"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}}
    assert read({"generationConfig": config}).format == Format({"type": "string"})


def test_a_schema_without_an_end_is_left_alone_down_there() -> None:
    schema: Any = {"type": "STRING"}
    for _ in range(200):
        schema = {"type": "ARRAY", "items": schema}
    (tool,) = read({"tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]}).tools
    assert json.dumps(tool.parameters).count('"array"') == 65


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, Format()),
    ],
)
def test_formats(config: Any, expected: Format | None) -> None:
    assert read({"generationConfig": config}).format == expected


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({"thinkingBudget": 0}, ("none", None)),
        ({"thinkingBudget": -1}, (None, None)),
        ({"thinkingBudget": 2000}, ("low", 2000)),
        ({"thinkingBudget": 8192}, ("medium", 8192)),
        ({"thinkingBudget": 9000}, ("high", 9000)),
        ({"thinkingLevel": "low"}, ("low", None)),
        ({"thinkingLevel": "XHIGH"}, ("high", None)),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, (None, None)),
        ({"includeThoughts": True}, (None, None)),
    ],
)
def test_thinking(thinking: Any, expected: Any) -> None:
    conversation = read({"generationConfig": {"thinkingConfig": thinking}})
    assert (conversation.effort, conversation.reasoning_tokens) == expected


# What cannot be said to others


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"generationConfig": {"responseLogprobs": True}}, "responseLogprobs"),
        ({"generationConfig": {"speechConfig": {"x": 1}}}, "speechConfig"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "generationConfig.responseModalities"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
        ({"tools": [{"code_execution": {}}]}, "tools[0].codeExecution"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts[0]"),
        ({"contents": [user({"executableCode": {}})]}, "contents[0].parts[0]"),
        ({"contents": [user({"inlineData": {"mimeType": "audio/wav"}})]}, "contents[0].parts[0].inlineData.mimeType"),
        (
            {"contents": [user({"fileData": {"mimeType": "image/png", "fileUri": "gs://x"}})]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        (
            {"contents": [user({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}})]},
            "contents[0].parts[0].fileData.fileUri",
        ),
    ],
)
def test_what_others_have_no_words_for(body: Any, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        read(body)
    assert caught.value.param == param
    assert param.split(".")[-1].partition("[")[0] in caught.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": "user", "parts": "x"}]}, "contents[0].parts"),
        ({"contents": [user({"text": 5})]}, "contents[0].parts[0].text"),
        ({"contents": [model({"functionCall": {"name": "f", "args": []}})]}, "contents[0].parts[0].functionCall.args"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}}, "toolConfig.functionCallingConfig.mode"),
        ({"tools": {"functionDeclarations": []}}, "tools"),
    ],
)
def test_wrong_fields_are_named(body: Any, param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(body)
    assert caught.value.param == param
