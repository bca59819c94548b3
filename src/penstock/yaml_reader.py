"""YAML as penstock reads it, in pipeline files and in templates alike: version 1.2, plain data, bounded."""
