"""The platform contract, tried from outside: a real server process, asked over HTTP."""
