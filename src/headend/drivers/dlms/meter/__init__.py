"""Objects of a virtual meter that keep what is written and do something: relay, clock, scripts, calendars, pushes, images."""
