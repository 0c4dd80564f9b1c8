"""What the parts of IndRNN are worth: rows of a table that differ in one thing, compared seed by seed."""
