"""How requests reach a provider: one class for each transport, all behind ``base.Transport``.

``openai`` speaks the OpenAI protocol over one of two HTTP clients (``http_pool``, ``aiohttp_pool``),
``embedded`` does so with the embedded model's server, and ``litellm`` reaches all other providers.
"""
