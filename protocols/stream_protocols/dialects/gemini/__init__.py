"""Google's Gemini API: unnamed `data:` frames, each a `GenerateContentResponse` of its own.

What the documentation does not say loudly:

- no frame says that it is the last one: a finish reason for every candidate, and a body that ended properly, are a
  clean end; anything less is a truncation;
- counts of tokens stand in every frame, and grow; those of thoughts are not among the candidates';
- a function call is whole in one frame, its arguments an object; it may have no id;
- an error in mid-stream is a frame `{"error": {…}}`;
- its SDKs take every line that is neither blank nor begins with `data: ` for the answer's own JSON, so `id:` lines and
  comments are only for clients that have said that they can take them (see `render.BareRenderer`).
"""

from stream_protocols.dialects.gemini.decoder import GeminiDecoder
from stream_protocols.dialects.gemini.dialect import Gemini
from stream_protocols.dialects.gemini.encoder import GeminiEncoder
from stream_protocols.dialects.gemini.request import NAME

__all__ = ["NAME", "Gemini", "GeminiDecoder", "GeminiEncoder"]
