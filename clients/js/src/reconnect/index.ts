/**
 * Coming back, sans I/O: when, whether, over which transport, and from where. A port of the Python package
 * `stream_protocols.reconnect`, held to the same table of cases (`tests/protocols/reconnect/cases.json`).
 *
 * Nothing here knows a socket, a clock or chance: times are the caller's seconds, and chance is a function. A clock that
 * jumps (a laptop that slept) makes something happen early, and nothing happen wrongly or never.
 */

export * from "./backoff.js";
export * from "./ladder.js";
export * from "./silence.js";
export * from "./trail.js";
export * from "./verdict.js";
