"""Takes over the checks of a Gatus configuration file."""
