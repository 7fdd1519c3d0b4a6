"""
What particular ASGI servers need beyond the ASGI specification.
"""
