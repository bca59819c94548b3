"""The HTTP service: routers that translate, and nothing else.

``routing`` makes a router, ``deps`` says what a route can ask for, ``errors`` which status an error is,
``security`` who may ask at all.
"""
