"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Machines are busy at times: no test fails for its time alone, but for a limit it hangs beyond.
settings.register_profile("gatewatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatewatch")
