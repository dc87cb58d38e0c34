"""What a head-end does with meters; knows drivers, never a protocol."""
