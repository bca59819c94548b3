"""Programs for people who work on penstock: mutation testing, structure checks, the API reference."""
