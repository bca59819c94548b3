"""The platform contract, tested over HTTP against a real server process."""
