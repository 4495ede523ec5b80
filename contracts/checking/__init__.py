"""Checking contracts: annotations and rules, compiled once, and the report of what breaks."""
