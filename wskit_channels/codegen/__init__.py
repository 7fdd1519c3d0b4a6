"""
Contracts for clients, read from a router: TypeScript and AsyncAPI.

Imports ``protocol`` and ``routing`` only; the Django commands that write files are
``wskit_typescript`` and ``wskit_asyncapi``.
"""
