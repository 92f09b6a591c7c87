"""Reading JSON that a client wrote: each helper takes one member, and says which one is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from stream_protocols.conversation import Image, Text, Tool, Untranslatable
from stream_protocols.errors import InvalidField

Fields = Mapping[str, Any]

P = TypeVar("P")

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, expected: str, value: object) -> InvalidField:
    return InvalidField(f"Field `{where}` must be {expected}, not {type(value).__name__}.", param=where)


def string(fields: Fields, name: str, where: str = "") -> str | None:
    """A text, or None when it was not said."""
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong(_at(where, name), "a string", value)


def boolean(fields: Fields, name: str, where: str = "") -> bool | None:
    """True, false, or None when it was not said."""
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise _wrong(_at(where, name), "true or false", value)


def integer(fields: Fields, name: str, where: str = "") -> int | None:
    """A whole number, or None when it was not said."""
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise _wrong(_at(where, name), "a whole number", value)


def number(fields: Fields, name: str, where: str = "") -> float | None:
    """A number, or None when it was not said."""
    value = fields.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise _wrong(_at(where, name), "a number", value)


def optional_object(fields: Fields, name: str, where: str = "") -> dict[str, Any] | None:
    """An object, or None when it was not said."""
    value = fields.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise _wrong(_at(where, name), "an object", value)


def listed(value: object, where: str) -> Sequence[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise _wrong(f"{where}[{index}]", "an object", entry)
    return value


def objects(fields: Fields, name: str, where: str = "") -> Sequence[dict[str, Any]]:
    """A list of objects; empty when it was not said."""
    value = fields.get(name)
    return [] if value is None else listed(value, _at(where, name))


def strings(fields: Fields, name: str, where: str = "") -> tuple[str, ...]:
    """A list of texts, which may be written as one text; empty when it was not said."""
    value = fields.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise _wrong(_at(where, name), "a string or a list of strings", value)


def text_of(content: object, where: str, kinds: Sequence[str] = ("text", "input_text")) -> str:
    """Instructions: a text, or parts that are nothing but text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(listed(content, where)):
        if part.get("type", "text") not in kinds:
            message = f"Field `{where}[{index}]` is of type {part.get('type')!r}; instructions are text."
            raise Untranslatable(message, param=f"{where}[{index}]")
        texts.append(string(part, "text", f"{where}[{index}]") or "")
    return "\n".join(texts)


def content_of(content: object, where: str, read: Callable[[Fields, str], P]) -> tuple[Text | P, ...]:
    """A message's content: nothing, a text, or parts, each of which `read` makes out."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(read(part, f"{where}[{index}]") for index, part in enumerate(listed(content, where)))


def function_of(fields: Fields, where: str, schema: str = "parameters") -> Tool:
    """A function that the model may call; `schema` is the member that describes its arguments."""
    return Tool(
        name=string(fields, "name", where) or "",
        description=string(fields, "description", where) or "",
        parameters=optional_object(fields, schema, where),
        strict=boolean(fields, "strict", where),
    )


def data_url(url: str, detail: str = "") -> Image:
    """A picture by its URL; what is in a `data:` URL is taken out of it (RFC 2397)."""
    match = _DATA_URL.match(url[:256])
    if match is None:
        return Image(url=url, detail=detail)
    return Image(data=url[match.end() :], media_type=match[1].lower(), detail=detail)


def image_url(image: Image) -> str:
    """A picture as a URL."""
    return image.url or f"data:{image.media_type};base64,{image.data}"


def refuse(fields: Fields, names: Sequence[str], whose: str) -> None:
    """Refuse what only one vendor has, where it was said and is not empty.

    Raises:
        Untranslatable: one of them is there.
    """
    for name in names:
        if fields.get(name):
            raise Untranslatable(
                f"Field `{name}` exists in {whose} only, and this model is another vendor's.", param=name
            )


def said(**fields: Any) -> dict[str, Any]:
    """The fields that were said: those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
