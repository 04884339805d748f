"""What holds for every test."""

import gc

from hypothesis import HealthCheck, settings

# Machines are busy at times: no test fails for its time alone, but for a limit it hangs beyond.
settings.register_profile("gatewatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatewatch")


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what stays: thousands of tests and their modules."""
    gc.collect()
    gc.freeze()
