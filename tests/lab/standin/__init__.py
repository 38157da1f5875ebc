"""A stand-in for an Alpine release, for tests: same layout, same contract, made from real parts."""
