"""Compiled kernels: integers and arrays in, ``out`` last, a status back."""
