"""Alarms: rules compiled into tables, readings judged by them, and the loop that keeps and says what came of it."""
