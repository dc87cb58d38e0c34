"""DL/T 645-2007, and where it differs 1997: frames, messages, data formats and the conversation, both roles."""
