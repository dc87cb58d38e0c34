"""Protocol drivers: what a protocol means in terms of the model. Found by the entry points `headend.drivers`."""
