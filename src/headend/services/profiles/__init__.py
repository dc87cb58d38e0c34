"""Meter profiles that the head-end keeps: made, compared, tried, promoted, and given to other systems."""
