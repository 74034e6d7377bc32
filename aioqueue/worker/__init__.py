"""Runs jobs: a session at a broker, its slots, and the tasks they call."""
