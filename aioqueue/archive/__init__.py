"""Finished jobs with their runs, errors and results: what can be asked after a job's end, and how long."""
