"""The last layer, solved for at fixed features."""
