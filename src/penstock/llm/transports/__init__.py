"""How requests reach a provider: one class a transport, all behind the same protocol."""
