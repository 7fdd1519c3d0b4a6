"""
The conformance scenarios, and the server they are played against.

``run.py`` plays ``scenarios/`` over a real WebSocket and needs nothing of this
project; ``python -m tests.conformance`` starts the server.
"""
