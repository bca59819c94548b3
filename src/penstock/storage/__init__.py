"""What is kept: pipelines, jobs, records, and the journal of model calls.

``database`` opens it; ``pipelines``, ``jobs`` and ``records`` are its verbs (functions that take a session
first); ``writer`` writes a running job's records in groups; ``journal`` keeps model calls; ``claims`` lets
one process at a time work on a job. Nothing is imported here: SQLAlchemy takes a while.
"""
