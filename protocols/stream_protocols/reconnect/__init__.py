"""Coming back, sans I/O: when, whether, over which transport, and from where.

Nothing here knows a socket, a clock or chance: times are the caller's monotonic seconds, and chance is a function.
A clock that jumps (a laptop that slept) makes something happen early, and nothing happen wrongly or never.
"""

from stream_protocols.reconnect.backoff import Backoff as Backoff
from stream_protocols.reconnect.backoff import Patience as Patience
from stream_protocols.reconnect.ladder import Blame as Blame
from stream_protocols.reconnect.ladder import Ladder as Ladder
from stream_protocols.reconnect.silence import Probe as Probe
from stream_protocols.reconnect.silence import Rhythm as Rhythm
from stream_protocols.reconnect.silence import Silence as Silence
from stream_protocols.reconnect.trail import Admitted as Admitted
from stream_protocols.reconnect.trail import Trail as Trail
from stream_protocols.reconnect.verdict import STOP as STOP
from stream_protocols.reconnect.verdict import Verdict as Verdict
from stream_protocols.reconnect.verdict import on_close as on_close
from stream_protocols.reconnect.verdict import on_status as on_status
