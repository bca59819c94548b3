"""What is saved: pipelines, jobs, records, and the journal of model calls.

``database`` opens it and gives sessions; ``pipelines``, ``jobs``, ``records`` and ``seed_files`` have
functions that take a session first; ``writer`` writes a running job's records in groups; ``journal`` saves
model calls; ``job_locks`` lets one process at a time work on a job. Nothing is imported here: SQLAlchemy
takes a while.
"""
