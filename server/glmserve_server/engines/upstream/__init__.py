"""The upstream engine: a model that another server runs, behind the same contract."""
