"""Routing: which target serves an attempt, and what follows when it fails.

Decisions only. Nothing here waits, reads a clock or rolls dice: the time (`now`, seconds of any steady clock) and the
source of chance are passed in, so that a thousand requests can be simulated in a moment.
"""
