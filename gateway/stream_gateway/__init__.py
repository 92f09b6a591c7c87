"""Stream Gateway: numbered, resumable AI streams over WebSocket, SSE and HTTP/2."""
