"""The version of the package, for everything that records what made it."""

VERSION = "0.1.0"
