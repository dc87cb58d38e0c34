"""Where readings and events go: MQTT and other sinks."""
