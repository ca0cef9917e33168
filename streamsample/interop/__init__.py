"""Adapters between streamsample and the files and objects of other libraries."""
