"""What programs written for auto_LiRPA say, and what it means here: the only place that knows those names.

Nothing below the façade knows them: options and keywords are translated before anything is computed.
Each one is here or in `docs/migrating.md`: it works, or it is refused, or taken with a `CompatibilityWarning` that says
what happens instead. Nothing is ignored in silence that could change what a bound is a bound of.
"""
