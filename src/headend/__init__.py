"""Headend: a head-end system for electricity meters."""
