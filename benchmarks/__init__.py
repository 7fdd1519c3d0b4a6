"""
Benchmarks: this library beside its peers, in one run, on one machine.

``python -m benchmarks`` measures; ``python -m benchmarks guard`` compares what one message
costs with what ``baseline.json`` says it did. ``docs/benchmarks.md`` tells how and why.
"""
