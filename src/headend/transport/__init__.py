"""Byte links that know no protocol, and the exchange that joins a link to a conversation."""
