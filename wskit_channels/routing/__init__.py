"""
Routers, contexts and dispatch: asyncio, but no Django.

What routing needs of a web framework it declares in ``shell``; the Django app
plugs itself in there.
"""
