"""Damaged input for every reader, the flags and the loaders: only clear errors may come of it. python -m experiments.fuzz"""
