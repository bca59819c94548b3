"""The HTTP service: one router a noun, which translates between HTTP and the layers below.

``routing`` makes routers, ``deps`` has what routes depend on, ``schemas`` the bodies of requests and answers,
``errors`` maps errors to statuses, ``security`` decides which requests are accepted.
"""
