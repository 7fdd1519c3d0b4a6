"""
The protocol without IO: rules for frames, calls, topics and limits.

Nothing here knows Django, asyncio, a clock or a log. Callers pass the time and
carry out what is decided.
"""
