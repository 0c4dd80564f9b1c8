"""One run: built, trained in sittings, written down."""
