"""The gateway: meters that dial in, from the first octet of a connection to the lane of the meter."""
