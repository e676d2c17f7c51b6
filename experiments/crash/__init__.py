"""Kills processes at random moments, lets them go on, and compares with what nobody killed. python -m experiments.crash"""
